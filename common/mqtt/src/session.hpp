// One connection of libmosquitto's, from the attempt to its end; never used twice, so that there is nothing to resend.
//
// The worker's thread makes all calls and waits for the socket itself; libmosquitto calls back from inside its calls
// only. What has ended is told to the mailbox after such a call, never from inside a callback.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <mosquitto.h>

#include "address.hpp"
#include "credentials.hpp"
#include "event.hpp"
#include "mailbox.hpp"

namespace flops::mqtt {

class Session {
 public:
  // options must outlive it.
  Session(const Options& options, Attempt attempt, std::shared_ptr<Mailbox> mailbox);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // Without a farewell, so that the broker publishes the will. What is open fails.
  ~Session();

  [[nodiscard]] Attempt attempt() const { return attempt_; }
  // Each puts its outcome into the mailbox, sooner or later, whether libmosquitto took it or not.
  void connect();
  void publish(Operation operation, const std::string& topic, const std::string& payload,
               const PublishOptions& options);
  void subscribe(Operation operation, const std::vector<std::string>& filters);
  void unsubscribe(Operation operation, const std::vector<std::string>& filters);
  void disconnect();
  // Says that the will is to be published.
  void break_off();

  // What to wait for, -1 when there is nothing, and what to do when it has come (poll()'s events) or some seconds have
  // passed.
  [[nodiscard]] int socket() const { return mosquitto_ ? ::mosquitto_socket(mosquitto_.get()) : -1; }
  [[nodiscard]] short events() const;
  void work(short events);

  [[nodiscard]] bool connected() const { return state_ == State::connected; }
  // The attempt failed and the broker did not say why: where it was looked for. Says so once.
  [[nodiscard]] std::optional<Addresses> failed_silently();
  // libmosquitto copies what it is given: only so much is handed over before it is acknowledged.
  [[nodiscard]] bool room() const { return bytes_ == 0 || (bytes_ < max_bytes && calls_.size() < max_operations); }
  [[nodiscard]] bool idle() const { return calls_.empty(); }

 private:
  static constexpr std::size_t max_bytes = 2U << 20U;
  static constexpr std::size_t max_operations = 64;

  enum class State { connecting, connected, disconnecting, failed, over };
  struct Free {
    void operator()(mosquitto* given) const { ::mosquitto_destroy(given); }
  };
  struct Call {
    Operation operation;
    std::size_t bytes;
    const char* doing;
  };
  // The callback has been: libmosquitto's error when it is below 128, else the broker's reason.
  struct End {
    int code;
  };

  static void on_connect(mosquitto*, void* session, int reason, int flags, const mosquitto_property*);
  static void on_disconnect(mosquitto*, void* session, int code, const mosquitto_property*);
  static void on_publish(mosquitto*, void* session, int mid, int reason, const mosquitto_property*);
  static void on_subscribe(mosquitto*, void* session, int mid, int count, const int* reasons,
                           const mosquitto_property*);
  static void on_unsubscribe(mosquitto*, void* session, int mid, const mosquitto_property*);
  static void on_message(mosquitto*, void* session, const mosquitto_message* message, const mosquitto_property*);

  [[nodiscard]] Result<> prepare();
  [[nodiscard]] Result<> find_addresses();
  // Begins a connection to the next address; without one the attempt has failed.
  void try_next();
  [[nodiscard]] const SSL* tls() const;
  [[nodiscard]] bool shaking_hands() const;
  // libmosquitto's share of what the socket is ready for, keep-alive included; its code.
  [[nodiscard]] int serve(short events);
  void begin(Operation operation, std::size_t bytes, const char* doing);
  // What libmosquitto made of the call that was begun.
  void begun(int code);
  // The outcome of the call that libmosquitto knows as `mid`.
  void settle(int mid, Result<> result);
  void settle(const Call& call, Result<> result);
  void settle_all();
  // After every call that may have ended the connection, which it may let go of.
  void look_for_end(int code);

  const Options& options_;
  const Attempt attempt_;
  const std::shared_ptr<Mailbox> mailbox_;
  Context context_;
  std::unique_ptr<mosquitto, Free> mosquitto_;
  State state_ = State::connecting;
  Addresses addresses_;
  std::deque<const addrinfo*> untried_;
  std::optional<End> end_;
  std::size_t bytes_ = 0;
  std::unordered_map<int, Call> calls_;
  // The call that libmosquitto is taking right now, which it may settle before it returns.
  std::optional<Call> beginning_;
  int beginning_mid_ = 0;
};

}  // namespace flops::mqtt
