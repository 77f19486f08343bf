#include <csignal>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/process/child.hpp"

namespace flops::process {

Result<Exit> run_to_end(const Command& command, std::chrono::milliseconds patience) {
  boost::asio::io_context loop(1);
  boost::asio::steady_timer timer(loop, patience);
  std::optional<Exit> ended;
  auto child = Child::spawn(loop.get_executor(), command, [&](Exit exit) {
    ended = exit;
    timer.cancel();
  });
  if (!child) {
    return fail(child.error());
  }
  timer.async_wait([&](boost::system::error_code cancelled) {
    if (!cancelled) {
      (void)::kill(-(*child)->pid(), SIGKILL);  // its group, with the children it has there
      (*child)->signal(SIGKILL);
    }
  });
  loop.run();
  return ended ? Result<Exit>(*ended) : fail(ErrorKind::bug, "nobody said how the program ended");
}

}  // namespace flops::process
