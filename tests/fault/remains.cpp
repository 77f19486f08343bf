// What programs leave behind: error lines, processes, files where none belong.
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>

#include <sys/wait.h>
#include <unistd.h>

#include "flops/core/file.hpp"
#include "invariants.hpp"

namespace flops::faults {
namespace {

namespace fs = std::filesystem;

// Lines that mean a defect wherever they come from.
constexpr const char* never[] = {"AddressSanitizer",       "ThreadSanitizer",     "LeakSanitizer",
                                 "runtime error:",         "terminate called",    "Assertion",
                                 "Segmentation",           "stack smashing",      "double free",
                                 "was in the sum already", "sum was never opened"};

// "<time> <program> error <component>: <text>", as common/core/log writes it.
bool is_error_line(const std::string& line) {
  std::istringstream words(line);
  std::string time;
  std::string program;
  std::string level;
  words >> time >> program >> level;
  return level == "error";
}

void check_log(Stage& stage, const fs::path& file, const std::vector<std::string>& expected) {
  std::ifstream log(file);
  for (std::string line; std::getline(log, line);) {
    const auto contains = [&](const std::string& part) { return line.contains(part); };
    if (std::ranges::any_of(never, contains) || (is_error_line(line) && std::ranges::none_of(expected, contains))) {
      stage.problem(fmt::format("{}: {}", file.filename().string(), line.substr(0, 300)));
      return;  // one is enough to look at the log
    }
  }
}

std::string living_children() {
  std::string names;
  std::istringstream pids(read_file(fmt::format("/proc/self/task/{}/children", ::getpid())).value_or(""));
  for (int pid = 0; pids >> pid;) {
    std::string command = read_file(fmt::format("/proc/{}/cmdline", pid)).value_or("");
    std::ranges::replace(command, '\0', ' ');
    names += fmt::format("{} {}; ", pid, command);
    (void)::kill(pid, SIGKILL);
  }
  return names;
}

}  // namespace

void check_logs(Stage& stage, const std::vector<std::string>& expected) {
  for (const auto& entry : fs::directory_iterator(stage.folder / "logs")) {
    check_log(stage, entry.path(), expected);
  }
}

// Orphans come to this process (it is their subreaper), so whoever is left is a child of ours.
void check_nothing_left(Stage& stage) {
  const auto nobody = [] {
    pid_t ended = 0;
    do {
      ended = ::waitpid(-1, nullptr, WNOHANG);
    } while (ended > 0);
    return ended < 0 && errno == ECHILD;
  };
  if (auto gone = stage.until("all processes to be gone", nobody, std::chrono::seconds(10)); !gone) {
    stage.problem(fmt::format("still running after the end: {}", living_children()));
  }
  std::vector<fs::path> places = {stage.folder / "outside"};
  if (stage.sealed) {
    places.insert(places.end(), {"/tmp", "/dev/shm"});  // covered, so empty but for what the programs wrote
  }
  for (const fs::path& place : places) {
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(place, error)) {
      if (!entry.is_directory() || place != stage.folder / "outside") {
        stage.problem(fmt::format("a file outside the state folders: {}", entry.path().string()));
      }
    }
  }
}

}  // namespace flops::faults
