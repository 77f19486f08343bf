#include "program.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flops/test/wait.hpp"

namespace flops::cli_test {

namespace {

std::pair<Fd, Fd> make_pipe() {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// False at the end of the stream.
bool append_from(const Fd& fd, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
  if (count > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return count > 0;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    out.push_back(text.data());
  }
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> child_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    if (name != "HOME" && name != "FLOPSCTL_CONFIG" && !added.contains(name)) {
      out.push_back(text);
    }
  }
  for (const auto& [name, value] : added) {
    out.push_back(fmt::format("{}={}", name, value));
  }
  return out;
}

}  // namespace

std::filesystem::path flopsctl_path() {
  if (const char* folder = std::getenv("FLOPS_BIN"); folder != nullptr) {
    return std::filesystem::path(folder) / "flopsctl";
  }
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "flopsctl";
}

Program::Program(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment) {
  std::vector<std::string> words{flopsctl_path().string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = child_environment(environment);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  auto [out_read, out_write] = make_pipe();
  auto [err_read, err_write] = make_pipe();
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(out_write.get(), STDOUT_FILENO);
    ::dup2(err_write.get(), STDERR_FILENO);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  out_ = std::move(out_read);
  err_ = std::move(err_read);
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Program::signal(int number) const {
  REQUIRE(::kill(pid_, number) == 0);
}

void Program::read_available(int timeout_ms) {
  std::array<pollfd, 2> events{pollfd{out_.get(), POLLIN, 0}, pollfd{err_.get(), POLLIN, 0}};
  if (::poll(events.data(), events.size(), timeout_ms) <= 0) {
    return;
  }
  if (events[0].revents != 0 && !append_from(out_, out_text_)) {
    out_.reset();
  }
  if (events[1].revents != 0 && !append_from(err_, err_text_)) {
    err_.reset();
  }
}

std::string Program::output_so_far() {
  read_available(10);
  return out_text_;
}

Ended Program::wait() {
  const auto deadline = std::chrono::steady_clock::now() + test::patience;
  while ((out_.valid() || err_.valid()) && std::chrono::steady_clock::now() < deadline) {
    read_available(100);
  }
  if (out_.valid() || err_.valid()) {
    ::kill(pid_, SIGKILL);
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out_text_, err_text_};
}

Ended run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment) {
  return Program(arguments, environment).wait();
}

}  // namespace flops::cli_test
