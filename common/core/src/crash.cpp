#include "flops/core/crash.hpp"

#include <array>
#include <csignal>
#include <cstring>

#include <execinfo.h>
#include <unistd.h>

namespace flops {
namespace {

constexpr int most_frames = 64;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::array crashes = {SIGABRT};
#else
constexpr std::array crashes = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
#endif

void say(const char* text) {
  static_cast<void>(::write(STDERR_FILENO, text, std::strlen(text)) + 1);
}

// Only what is safe in a signal handler: no allocation, no locks.
extern "C" void on_crash(int signal) {
  std::array<void*, most_frames> frames{};
  say("crashed: ");
  say(::sigabbrev_np(signal));
  say(". The stack, for a report of this fault:\n");
  ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), most_frames), STDERR_FILENO);
  static_cast<void>(std::raise(signal));  // delivered when this returns, by its default action
}

}  // namespace

void report_crashes() {
  std::array<void*, 1> frame{};
  ::backtrace(frame.data(), 1);  // loads what it needs now
  struct sigaction action{};
  action.sa_handler = on_crash;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : crashes) {
    static_cast<void>(::sigaction(signal, &action, nullptr));
  }
}

}  // namespace flops
