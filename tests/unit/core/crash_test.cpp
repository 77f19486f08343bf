#include <csignal>
#include <cstdlib>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flops/core/crash.hpp"
#include "flops/core/file.hpp"
#include "flops/test/temporary_folder.hpp"

TEST_CASE("crash: the stack is in the log, and the program dies of the same signal") {
  const flops::test::TemporaryFolder folder;
  const auto log = folder / "log";
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(file, STDERR_FILENO);
    for (const int signal : {SIGABRT, SIGSEGV}) {
      static_cast<void>(std::signal(signal, SIG_DFL));  // doctest has its own
    }
    flops::report_crashes();
    std::abort();
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  const std::string text = flops::read_file(log).value();
  CHECK(text.starts_with("crashed: ABRT."));
  CHECK(text.find("test_core(+0x") != std::string::npos);
}
