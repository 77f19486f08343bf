// What systemd would hear, at its own socket.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"
#include "flops/service/journal.hpp"
#include "flops/service/manager.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace std::chrono_literals;

namespace {

// The service manager's side; the environment says where it is.
class Listener {
 public:
  Listener() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const std::string path = folder_ / "notify";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~Listener() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  std::vector<std::string> heard() {
    std::vector<std::string> messages;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(socket_.get(), bytes, sizeof bytes, 0)) >= 0;) {
      messages.emplace_back(bytes, static_cast<std::size_t>(n));
    }
    return messages;
  }

 private:
  test::TemporaryFolder folder_;
  Fd socket_;
};

}  // namespace

TEST_CASE("service: the manager hears that the program is ready, what it does, and that it stops") {
  Listener listener;
  boost::asio::io_context loop;
  service::Manager manager(loop.get_executor());
  manager.status("starting");
  manager.ready();
  manager.status("idle");
  manager.status("idle");  // no news
  manager.status("two\nlines");
  manager.stopping();
  CHECK(listener.heard() ==
        std::vector<std::string>{"STATUS=starting", "READY=1", "STATUS=idle", "STATUS=two lines", "STOPPING=1"});
  manager.reloading();
  const auto reloading = listener.heard();
  REQUIRE(reloading.size() == 1);
  CHECK(reloading.at(0).starts_with("RELOADING=1\nMONOTONIC_USEC="));
}

TEST_CASE("service: the watchdog is fed while the loop turns, and not otherwise") {
  Listener listener;
  ::setenv("WATCHDOG_USEC", "40000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  boost::asio::io_context loop;
  service::Manager manager(loop.get_executor());
  manager.ready();
  const auto beats = [&] { return std::ranges::count(listener.heard(), "WATCHDOG=1"); };
  CHECK(beats() == 1);
  loop.run_for(200ms);
  CHECK(beats() >= 2);
  CHECK(beats() == 0);  // nobody turns the loop
  manager.stopping();
  loop.restart();
  loop.run_for(100ms);
  CHECK(beats() == 0);
}

TEST_CASE("service: without a manager nothing happens") {
  boost::asio::io_context loop;
  service::Manager manager(loop.get_executor());
  manager.ready();
  manager.status("idle");
  manager.stopping();
  CHECK(loop.run() == 0);
}

TEST_CASE("service: stderr is the journal when the environment names its very file") {
  struct stat found{};
  REQUIRE(::fstat(STDERR_FILENO, &found) == 0);
  ::unsetenv("JOURNAL_STREAM");
  CHECK_FALSE(service::stderr_is_journal());
  ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", found.st_dev, found.st_ino).c_str(), 1);
  CHECK(service::stderr_is_journal());
  ::setenv("JOURNAL_STREAM", "1:2", 1);
  CHECK_FALSE(service::stderr_is_journal());
  ::unsetenv("JOURNAL_STREAM");
}
