// The thread that makes all calls of Paho's. Paho holds its lock while it hands us a message, and its calls wait for
// that lock: made on the loop, they would wait for a mailbox that only the loop can empty.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "event.hpp"
#include "mailbox.hpp"
#include "session.hpp"

namespace flops::mqtt {

struct ConnectCommand {
  Attempt attempt;
  std::optional<std::string> will;  // payload, when it is another than before
};
struct PublishCommand {
  Operation operation;
  std::string topic;
  std::string payload;
  PublishOptions options;
};
struct SubscribeCommand {
  Operation operation;
  std::vector<std::string> filters;
  bool unsubscribe;
};
// Disconnects as soon as everything is acknowledged, at the latest at the deadline.
struct DisconnectCommand {
  Attempt attempt;
  std::chrono::steady_clock::time_point deadline;
};
// Gives the attempt up.
struct AbandonCommand {};
// Finds out why the attempt failed, and says so.
struct ExplainCommand {
  Attempt attempt;
};
using Command =
    std::variant<ConnectCommand, PublishCommand, SubscribeCommand, DisconnectCommand, AbandonCommand, ExplainCommand>;

class Worker {
 public:
  Worker(Options options, std::shared_ptr<Mailbox> mailbox);
  // Ends the connection with the will. The mailbox must be closed before, or Paho may be waiting in it.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void add(Command command);
  // The connection is gone: what waits to be sent over it is of no use. Commands that connect stay.
  void forget_operations();

 private:
  [[nodiscard]] std::optional<Command> next();
  [[nodiscard]] bool ready(const Command& command) const;
  void run();
  void execute(ConnectCommand& command);
  void execute(PublishCommand& command);
  void execute(SubscribeCommand& command);
  void execute(DisconnectCommand& command);
  void execute(AbandonCommand& command);
  void execute(ExplainCommand& command);
  [[nodiscard]] bool stopping();
  [[nodiscard]] bool connected() const { return session_ && session_->connected(); }

  Options options_;  // changed only in front of an attempt
  const std::shared_ptr<Mailbox> mailbox_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Command> queue_;         // under mutex_
  bool stopping_ = false;             // under mutex_
  std::unique_ptr<Session> session_;  // the worker thread's
  std::thread thread_;                // last: starts when everything else is there
};

}  // namespace flops::mqtt
