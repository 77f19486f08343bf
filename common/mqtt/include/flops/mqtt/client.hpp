// MQTT 5 over TLS 1.3 with client certificates, behind a small asynchronous interface (libmosquitto inside).
//
// All calls and all callbacks are on the loop's thread. A client has one thread of its own for the connection, which
// only posts to the loop, through a mailbox bounded in bytes; when it is full the thread waits, so that TCP pushes back
// on the broker. Nothing is dropped.
// The client makes one connection attempt a connect(); who reconnects, and when, is the owner's decision.
//
// No call blocks the loop, except the destructor: it ends the connection, for which it waits a second at most (longer
// only while a name server does not answer). Handlers and `done` run from the loop, never from inside a call, in the
// order in which things happened, and never once the destructor has begun: what is pending then is forgotten (received
// messages still in the mailbox, or waiting for room in it, included, although the broker has seen them acknowledged).
// A client must not be destroyed from inside one of its own handlers; owners post that. While the mailbox is full
// nothing goes out either, keep-alive included, so a loop must not stand still for longer than the keep-alive.
//
// OASIS MQTT 5.0: https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "flops/core/error.hpp"

namespace flops::mqtt {

struct Message {
  std::string topic;
  std::string payload;  // bytes
  bool retained = false;
};

struct PublishOptions {
  int qos = 1;
  bool retain = false;
  std::chrono::seconds expiry{0};  // 0: never
};

struct Will {
  std::string topic;
  std::string payload;
  bool retain = true;
};

struct Options {
  std::string host;
  std::uint16_t port = 8883;
  std::string client_id;
  std::filesystem::path ca_file;           // the only trusted authority
  bool intermediates = false;              // false: the broker's certificate must be issued by it itself
  std::filesystem::path certificate_file;  // chain, leaf first
  std::filesystem::path key_file;
  std::optional<Will> will;
  std::chrono::seconds keep_alive{30};                // 5 or more; what is not answered within two is lost
  std::chrono::seconds session_expiry{0};             // > 0: persistent session (clean start = false)
  std::chrono::milliseconds connect_timeout{15'000};  // of an attempt as a whole
  std::size_t mailbox_bytes = 4U << 20U;              // inbound, waiting for the loop
  std::size_t max_packet_bytes = 1U << 20U;           // larger inbound messages are refused by the protocol
  std::int64_t newest_time_seen = 0;                  // when the clock was known to be right (health::judge_clock)
};

struct Handlers {
  std::function<void(bool session_present)> connected;
  // The attempt failed. denied: the broker or TLS refused us; clock: because of this device's clock, which is wrong;
  // cancelled: disconnect() came first; permanent: a certificate file is no longer usable; resource: there is no memory
  // for it; bug: the will is none; transient: everything else. `what` says what the clock shows when a certificate was
  // not accepted. Per connect(), exactly one of `connected` and `connect_failed` is called.
  std::function<void(const Error&)> connect_failed;
  // An established connection ended without our asking. denied: another client has connected as this one (session
  // taken over); transient: everything else.
  std::function<void(const Error&)> lost;
  std::function<void(Message)> message;
};

struct Stats {
  std::uint64_t bytes_published = 0;  // payload bytes of publish() while connected
  std::uint64_t bytes_received = 0;   // payload bytes of messages
  std::uint64_t messages_received = 0;
  std::uint64_t mailbox_waits = 0;          // times the connection's thread had to wait
  std::uint64_t mailbox_peak_messages = 0;  // the most that ever waited for the loop, and their bytes with overhead
  std::uint64_t mailbox_peak_bytes = 0;
};

using Done = std::function<void(Result<>)>;

class Client {
 public:
  // permanent: a certificate file is missing or unusable; resource: no thread can be started.
  [[nodiscard]] static Result<std::unique_ptr<Client>> create(boost::asio::any_io_executor loop, Options options,
                                                              Handlers handlers);
  virtual ~Client() = default;  // ends the connection without notice: the broker publishes the will

  // Ignored while an attempt is under way or the connection is up.
  virtual void connect() = 0;
  // What the will says from the next attempt on; ignored without Options::will.
  virtual void set_will(std::string payload) = 0;
  [[nodiscard]] virtual bool connected() const = 0;
  // A proper DISCONNECT (no will), after what is in flight has been acknowledged or half the timeout has passed.
  // `done` is called in any case, within the timeout; what is unacknowledged then fails as cancelled.
  virtual void disconnect(std::chrono::milliseconds timeout, std::function<void()> done) = 0;

  // `done` (may be empty) is called exactly once: with success when the broker acknowledged, denied when it refused
  // (ACL), transient when the connection was down or went down or the broker gave another reason, bug when the QoS is
  // neither 0 nor 1 or the topic is no topic name. QoS 0 succeeds when it has been written. Nothing is kept for later.
  virtual void publish(std::string topic, std::string payload, PublishOptions options, Done done) = 0;
  // QoS 1. denied when the broker refuses any of the filters, bug when one is no topic filter.
  virtual void subscribe(std::vector<std::string> filters, Done done) = 0;
  virtual void unsubscribe(std::vector<std::string> filters, Done done) = 0;

  // Published but not yet done.
  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  [[nodiscard]] virtual Stats stats() const = 0;
};

// Whether the broker would let this client in, without connecting as it: a TLS handshake with its certificate, and a
// second for the broker to object. denied: a certificate was refused, by us or by the broker; clock: because of this
// machine's clock; permanent: a file cannot be used; transient: the rest, and a name that is not known. Blocking, for a
// few seconds (longer only while a name server does not answer).
[[nodiscard]] Result<> examine(const Options& options);

}  // namespace flops::mqtt
