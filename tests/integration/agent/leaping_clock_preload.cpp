// The library that leaping_clock.hpp describes. It stands between the program and libc, and uses system calls, so that
// it works before anything is initialised and beside a sanitizer.
//
// A connection attempt begins when a timer makes the loop wake the connection's thread, and is over when its outcome
// wakes the loop, or when that thread has nothing to do any more: the loop may take the outcome without having slept.
// Waits of that thread are cut short, or a day of attempts would take an hour.
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "leaping_clock.hpp"

namespace {

using flops::test::LeapingClockState;

constexpr std::int64_t second = 1'000'000'000;
constexpr int quiet_ms = 3;  // nothing happened for so long: everyone waits
constexpr int longest_poll_ms = 2;

LeapingClockState nowhere{};
LeapingClockState* shared = &nowhere;
std::atomic<int> timer = -1;               // the loop's
std::atomic<std::uint64_t> timer_tag = 0;  // what its events carry
std::atomic<std::int64_t> due = 0;         // when it ends, as the program sees the time
std::atomic<std::uint64_t> begun = 0;      // attempts
std::atomic<std::uint64_t> over = 0;
pthread_t loop_thread{};
std::atomic<bool> woken_by_timer = false;  // and by nothing else

using ConditionWait = int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);

std::int64_t to_ns(const timespec& time) {
  return time.tv_sec * second + time.tv_nsec;
}
timespec to_timespec(std::int64_t ns) {
  return {ns / second, ns % second};
}

std::int64_t now() {
  timespec time{};
  ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
  return to_ns(time) + shared->leapt_ns;
}

int wait_for_events(int epoll, epoll_event* events, int most, int timeout) {
  return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, most, timeout, nullptr, 0));
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

int wait_for(pollfd* entries, nfds_t count, const timespec* longest) {
  return static_cast<int>(::syscall(SYS_ppoll, entries, count, longest, nullptr, 0));
}

void leap() {
  const std::int64_t wait = due - now();
  const std::int64_t by = std::min(wait, shared->limit_ns - shared->leapt_ns);
  if (by > 0) {
    shared->leapt_ns += by;
  }
  itimerspec rest{{0, 0}, to_timespec(std::max<std::int64_t>(wait - by, 1))};
  ::syscall(SYS_timerfd_settime, timer.load(), 0, &rest, nullptr);
}

// Not for the children: their time is real.
__attribute__((constructor)) void attach() {
  const char* const file = std::getenv(flops::test::leaping_clock_variable);
  const int fd = file != nullptr ? ::open(file, O_RDWR | O_CLOEXEC) : -1;
  ::unsetenv("LD_PRELOAD");
  if (fd < 0) {
    return;
  }
  void* const address = ::mmap(nullptr, sizeof(LeapingClockState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::syscall(SYS_close, fd);
  if (address != MAP_FAILED) {
    shared = static_cast<LeapingClockState*>(address);
  }
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (clock != CLOCK_MONOTONIC) {
    return static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
  }
  *time = to_timespec(now());
  return 0;
}

// std::condition_variable waits by the steady clock.
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  static const auto wait = real<ConditionWait>("pthread_cond_clockwait");
  const timespec by_system = to_timespec(std::max<std::int64_t>(to_ns(*until) - shared->leapt_ns, 0));
  return wait(condition, mutex, clock, clock == CLOCK_MONOTONIC ? &by_system : until);
}

int timerfd_create(int clock, int flags) noexcept {
  timer = static_cast<int>(::syscall(SYS_timerfd_create, clock, flags));
  return timer;
}

int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* old) noexcept {
  due = flags == 0 ? now() + to_ns(value->it_value) : now();
  return static_cast<int>(::syscall(SYS_timerfd_settime, fd, flags, value, old));
}

int epoll_wait(int epoll, epoll_event* events, int most, int timeout) {
  if (timeout >= 0) {
    return wait_for_events(epoll, events, most, timeout);
  }
  loop_thread = ::pthread_self();
  int got = 0;
  while (got == 0) {
    const bool may_leap = shared->leapt_ns < shared->limit_ns;
    got = wait_for_events(epoll, events, most, may_leap ? quiet_ms : 20 * quiet_ms);
    if (got == 0 && may_leap && begun == over) {
      leap();
    }
  }
  woken_by_timer = got == 1 && events[0].data.u64 == timer_tag;
  if (!woken_by_timer) {
    over = begun.load();
  }
  if (shared->leapt_ns > 0) {
    ++shared->wakeups;
  }
  return got;
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  if (fd == timer) {
    timer_tag = event->data.u64;
  }
  return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

int connect(int fd, const sockaddr* address, socklen_t size) {
  if (shared->leapt_ns > 0 && (address->sa_family == AF_INET || address->sa_family == AF_INET6)) {
    ++shared->connects;
  }
  return static_cast<int>(::syscall(SYS_connect, fd, address, size));
}

// The loop wakes another thread.
int eventfd_write(int fd, eventfd_t value) {
  const bool written = ::syscall(SYS_write, fd, &value, sizeof value) == sizeof value;
  if (woken_by_timer && ::pthread_equal(::pthread_self(), loop_thread) != 0) {
    ++begun;  // now: that the other thread finds nothing to do means that it has done this
  }
  return written ? 0 : -1;
}

int poll(pollfd* entries, nfds_t count, int timeout) {
  if (timeout >= 0) {
    const timespec wait = to_timespec(std::min(timeout, longest_poll_ms) * std::int64_t{1'000'000});
    return wait_for(entries, count, &wait);
  }
  while (true) {
    const std::uint64_t seen = begun;
    const timespec wait = to_timespec((seen == over ? 10 : 1) * longest_poll_ms * std::int64_t{1'000'000});
    if (const int got = wait_for(entries, count, &wait); got != 0) {
      return got;
    }
    over = seen;
  }
}

}  // extern "C"
