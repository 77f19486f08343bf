// What a process can still do after enter_sandbox(). Each check runs in a child, for there is no way out of it.
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <thread>

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "sandbox.hpp"

using namespace flops;

namespace {

constexpr int sandbox_failed = 99;

// 0 when `check` holds inside the sandbox.
int inside(const std::function<bool()>& check) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!enter_sandbox()) {
      ::_exit(sandbox_failed);
    }
    ::_exit(check() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool refused(long result) {
  return result == -1 && errno == EPERM;
}

}  // namespace

TEST_CASE("sandbox: what a trainer has no use for is refused with EPERM") {
  struct Row {
    const char* name;
    bool (*check)();
  };
  const Row rows[] = {
      {"socket, IPv4", [] { return refused(::socket(AF_INET, SOCK_STREAM, 0)); }},
      {"socket, IPv6", [] { return refused(::socket(AF_INET6, SOCK_DGRAM, 0)); }},
      {"socket, local", [] { return refused(::socket(AF_UNIX, SOCK_STREAM, 0)); }},
      {"socketpair",
       [] {
         int ends[2];
         return refused(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
       }},
      {"connect", [] { return refused(::connect(0, nullptr, 0)); }},
      {"sendto", [] { return refused(::sendto(0, "x", 1, 0, nullptr, 0)); }},
      {"execve",
       [] {
         char name[] = "/bin/true";
         char* arguments[] = {name, nullptr};
         return refused(::execve(name, arguments, nullptr));
       }},
      {"ptrace", [] { return refused(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }},
      {"unshare", [] { return refused(::unshare(CLONE_NEWUSER)); }},
      {"mount", [] { return refused(::mount("none", "/nonexistent", "tmpfs", 0, nullptr)); }},
      {"bpf", [] { return refused(::syscall(SYS_bpf, 0, nullptr, 0)); }},
      {"perf_event_open", [] { return refused(::syscall(SYS_perf_event_open, nullptr, 0, 0, 0, 0)); }},
      {"io_uring_setup", [] { return refused(::syscall(SYS_io_uring_setup, 1, nullptr)); }},
      {"reboot", [] { return refused(::syscall(SYS_reboot, 0, 0, 0, nullptr)); }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(inside(row.check) == 0);
  }
}

TEST_CASE("sandbox: what LibTorch needs still works") {
  CHECK(inside([] {
          int sum = 0;
          std::thread([&] { sum = 1; }).join();
          return sum == 1;
        }) == 0);
  CHECK(inside([] { return ::access("/proc/cpuinfo", R_OK) == 0; }) == 0);
  CHECK(inside([] {
          return ::mmap(nullptr, 1U << 20U, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
        }) == 0);
}

TEST_CASE("sandbox: a socket that was there before goes on working") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
  CHECK(inside([&] {
          char byte = 'x';
          iovec part{&byte, 1};
          msghdr message{};
          message.msg_iov = &part;
          message.msg_iovlen = 1;
          return ::sendmsg(ends[0], &message, MSG_NOSIGNAL) == 1 && ::recvmsg(ends[1], &message, 0) == 1;
        }) == 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("sandbox: threads that were there before are inside too") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int ready[2];
    int verdict = 1;
    if (::pipe(ready) != 0) {
      ::_exit(2);
    }
    std::thread early([&] {
      char byte = 0;
      if (::read(ready[0], &byte, 1) == 1) {
        verdict = refused(::socket(AF_INET, SOCK_STREAM, 0)) ? 0 : 1;
      }
    });
    const bool entered = enter_sandbox().has_value() && ::write(ready[1], "x", 1) == 1;
    if (!entered) {
      ::_exit(sandbox_failed);
    }
    early.join();
    ::_exit(verdict);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
