// What the journal would get, at its own socket: in a mount namespace of this program's own, so only for root.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "flops/core/log.hpp"
#include "flops/service/journal.hpp"

using namespace flops;

namespace {

// The journal's socket; none when this user may not make namespaces.
Fd listen_as_journal() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", "/run", "tmpfs", 0, nullptr) != 0) {
    return {};
  }
  std::filesystem::create_directories("/run/systemd/journal");
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, "/run/systemd/journal/socket"};
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

std::string next(const Fd& socket) {
  std::string entry(65536, '\0');
  const ssize_t n = ::recv(socket.get(), entry.data(), entry.size(), 0);
  entry.resize(static_cast<std::size_t>(n > 0 ? n : 0));
  return entry;
}

bool has(const std::string& entry, const std::string& field) {
  return ("\n" + entry).find("\n" + field + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("service: lines of the log become entries of the journal, with a priority and their fields") {
  const Fd journal = listen_as_journal();
  if (!journal.valid()) {
    MESSAGE("this user cannot make a mount namespace: not tested");
    return;
  }
  log::start("test", log::Level::info);
  service::log_to_journal("flops-agent");
  log::set_field("FLOPS_DEVICE", "pi-1");
  log::keep(2);
  {
    const log::Field run("FLOPS_RUN", "run-7");
    const log::Field round("FLOPS_ROUND", "3");
    log::warn("tasks", "late by {} s", 5);
  }
  const std::string entry = next(journal);
  for (const char* field : {"MESSAGE=tasks: late by 5 s", "PRIORITY=4", "SYSLOG_IDENTIFIER=flops-agent",
                            "FLOPS_COMPONENT=tasks", "FLOPS_DEVICE=pi-1", "FLOPS_RUN=run-7", "FLOPS_ROUND=3"}) {
    CHECK_MESSAGE(has(entry, field), entry);
  }
  log::debug("tasks", "nobody wants to know");
  log::error("tasks", "two\nlines");
  const std::string second = next(journal);
  CHECK(has(second, "MESSAGE=tasks: two lines"));
  CHECK(has(second, "PRIORITY=3"));
  CHECK(second.find("FLOPS_RUN") == std::string::npos);
  REQUIRE(log::kept().size() == 2);
  CHECK(log::kept().back().ends_with("tasks: two lines"));
  log::info("tasks", "more");
  CHECK(log::kept().size() == 2);
  CHECK(log::kept().back().ends_with("tasks: more"));
}
