#include "interruption.hpp"

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "outcome.hpp"

namespace flops::cli {

namespace {

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Interruption::Interruption() {
  const sigset_t set = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A connection that closes while we write is an error to report, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { watch(); });
}

Interruption::~Interruption() {
  const std::uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) != sizeof one) {
    std::abort();  // an eventfd of ours takes 8 bytes; without them join() would wait for ever
  }
  thread_.join();
}

void Interruption::watch() {
  while (true) {
    std::array<pollfd, 2> events{pollfd{signals_.get(), POLLIN, 0}, pollfd{stop_.get(), POLLIN, 0}};
    if (::poll(events.data(), events.size(), -1) < 0) {
      continue;
    }
    if (events[1].revents != 0) {
      return;
    }
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) {
      continue;
    }
    const std::scoped_lock lock(mutex_);
    for (const auto& folder : scratch_) {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
    // Past destructors and exit handlers: the main thread is in the middle of a call.
    ::_exit(info.ssi_signo == SIGTERM ? exit_terminated : exit_interrupted);
  }
}

std::filesystem::path Interruption::make_scratch(const std::filesystem::path& target) {
  const std::filesystem::path parent = std::filesystem::absolute(target).parent_path();
  std::string pattern = (parent / ".flopsctl-XXXXXX").string();
  const std::scoped_lock lock(mutex_);
  if (::mkdtemp(pattern.data()) == nullptr) {
    return {};
  }
  return *scratch_.insert(pattern).first;
}

void Interruption::drop_scratch(const std::filesystem::path& folder) {
  const std::scoped_lock lock(mutex_);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  scratch_.erase(folder);
}

}  // namespace flops::cli
