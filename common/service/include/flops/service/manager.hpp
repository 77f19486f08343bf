// What the service manager is told: that the program is ready, what it does, that its loop turns (sd_notify(3)).
// Without a manager that wants to know (NOTIFY_SOCKET, WATCHDOG_USEC) every call does nothing. Loop's thread.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

namespace flops::service {

class Manager {
 public:
  explicit Manager(boost::asio::any_io_executor loop);

  // From then on it is told twice in each watchdog period that the loop turns: a loop that stands still is killed and
  // started again.
  void ready();
  // For people who ask what the service does; one line. Said when it is another one than before.
  void status(std::string_view text);
  void reloading();  // until the next ready()
  void stopping();

 private:
  void beat();

  boost::asio::steady_timer timer_;
  std::chrono::microseconds period_{0};  // 0: no watchdog
  std::string status_;
};

}  // namespace flops::service
