// One connection of Paho's, from the attempt to its end; never used twice, so that Paho has nothing to resend.
//
// Written against Paho's C interface (MQTTAsync), which its C++ wrapper stands on: version 1.2 of the wrapper, the one
// in Debian 12, drops the reason code of a DISCONNECT, so that a will could not be asked for.
//
// Calls come from the worker thread only, because Paho's calls wait for its threads, and those wait for the mailbox.
// Paho runs every callback with its one lock held and never after its client is destroyed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <MQTTAsync.h>

#include "event.hpp"
#include "mailbox.hpp"

namespace flops::mqtt {

// Called from Paho's threads.
struct SessionHooks {
  std::function<void()> changed;  // connected(), room() or idle() may say something else now
  std::function<void()> failed;   // the attempt failed and nobody said why
};

class Session {
 public:
  Session(const Options& options, Attempt attempt, std::shared_ptr<Mailbox> mailbox, SessionHooks hooks);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  [[nodiscard]] Attempt attempt() const { return attempt_; }
  // Each puts its outcome into the mailbox, whether Paho took it or not.
  void connect();
  void publish(Operation operation, const std::string& topic, std::string& payload, const PublishOptions& options);
  void subscribe(Operation operation, const std::vector<std::string>& filters);
  void unsubscribe(Operation operation, const std::vector<std::string>& filters);
  void disconnect();
  // Ends the connection so that the broker publishes the will; waits until Paho has said so.
  void break_off(std::chrono::milliseconds patience);

  [[nodiscard]] bool connected() const { return connected_; }
  // Paho copies what it is given: only so much is handed over before it is acknowledged.
  [[nodiscard]] bool room() const { return bytes_ == 0 || (bytes_ < max_bytes && operations_ < max_operations); }
  [[nodiscard]] bool idle() const { return operations_ == 0; }

 private:
  static constexpr std::size_t max_bytes = 2U << 20U;
  static constexpr std::size_t max_operations = 64;

  // What Paho gives back with the outcome; stays where it is until then.
  struct Call {
    Session* session;
    Operation operation;
    std::size_t bytes;
    const char* doing;
  };

  static void on_connected(void* session, MQTTAsync_successData5* data);
  static void on_connect_failed(void* session, MQTTAsync_failureData5* data);
  static void on_broker_disconnect(void* session, MQTTProperties* properties, MQTTReasonCodes code);
  static void on_lost(void* session, char* cause);
  static int on_message(void* session, char* topic, int topic_length, MQTTAsync_message* message);
  static void on_disconnected(void* session, MQTTAsync_successData5* data);
  static void on_disconnect_failed(void* session, MQTTAsync_failureData5* data);
  static void on_published(void* call, MQTTAsync_successData5* data);
  static void on_subscribed(void* call, MQTTAsync_successData5* data);
  static void on_unsubscribed(void* call, MQTTAsync_successData5* data);
  static void on_failed(void* call, MQTTAsync_failureData5* data);

  [[nodiscard]] Call* begin(Operation operation, std::size_t bytes, const char* doing);
  // Paho did not take it.
  void check(Call* call, int code);
  void settle(Call* call, Result<> result);
  [[nodiscard]] int start_disconnect(MQTTReasonCodes reason);
  // The loop ignores all but the first of these.
  void lose(ErrorKind kind, const std::string& reason);
  void ended();

  const Options& options_;
  const Attempt attempt_;
  const std::shared_ptr<Mailbox> mailbox_;
  const SessionHooks hooks_;
  MQTTAsync paho_ = nullptr;
  std::atomic<bool> connected_{false};
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> operations_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::unordered_map<Operation, Call> calls_;  // under mutex_
};

}  // namespace flops::mqtt
