// The thread of one client's connection: it alone calls libmosquitto, waits for its socket and for commands, and may
// wait for room in the mailbox, which the loop may not.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "event.hpp"
#include "flops/core/fd.hpp"
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
using Command = std::variant<ConnectCommand, PublishCommand, SubscribeCommand, DisconnectCommand, AbandonCommand>;

class Worker {
 public:
  // Throws std::system_error when there is no thread or no file descriptor to be had.
  Worker(Options options, std::shared_ptr<Mailbox> mailbox);
  // Ends the connection with the will. The mailbox must be closed before, or the thread may be waiting in it.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // A new attempt takes the place of those that wait.
  void add(Command command);
  // The connection is gone: what waits to be sent over it is of no use. Commands that connect stay.
  void forget_operations();

 private:
  void run();
  // Commands whose time has come.
  void execute_ready();
  [[nodiscard]] std::optional<Command> next();
  [[nodiscard]] bool ready(const Command& command) const;
  // Drops what waits in front of the command that ends the connection, when this is due.
  void make_way();
  [[nodiscard]] bool ending();
  // For a command, for something on the socket, or for a moment when time itself may be the cause.
  void wait(std::chrono::milliseconds longest);
  [[nodiscard]] std::chrono::milliseconds patience();
  void wake() const;
  void farewell();
  void change_will(std::optional<std::string> payload);
  void execute(ConnectCommand& command);
  void execute(PublishCommand& command);
  void execute(SubscribeCommand& command);
  void execute(DisconnectCommand& command);
  void execute(AbandonCommand& command);
  [[nodiscard]] bool connected() const { return session_ && session_->connected(); }

  Options options_;  // changed only in front of an attempt
  const std::shared_ptr<Mailbox> mailbox_;
  const Fd wake_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::deque<Command> queue_;         // under mutex_
  std::unique_ptr<Session> session_;  // the worker thread's
  std::thread thread_;                // last: starts when everything else is there
};

}  // namespace flops::mqtt
