#include <cstdlib>
#include <map>
#include <sstream>

#include <unistd.h>

#include "checks.hpp"
#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "flops/trainer/compute_environment.hpp"

namespace flops::agent {
namespace {

constexpr std::chrono::seconds patience{60};
constexpr std::size_t max_output = std::size_t{64} * 1024;
constexpr double slow_gflops = 1;  // what the reference BLAS gives on the slowest of today's boards

struct Examination {
  bool worked = false;
  std::string ended;                         // how, when it did not work
  std::map<std::string, std::string> facts;  // "torch": "1.13.1"
};

// A file of its own that is gone with the object.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "flops-doctor-XXXXXX").string();
    const int fd = ::mkstemp(name.data());
    if (fd >= 0) {
      ::close(fd);
      file_ = name;
    }
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
};

Examination examine_trainer(const Config& config) {
  const Scratch output;
  process::Command command;
  command.program = config.trainer_program;
  command.arguments = {"--device", config.trainer_device, "examine"};
  command.environment = trainer::compute_environment(static_cast<int>(config.trainer_threads));
  command.log_file = output.file();
  command.nice = static_cast<int>(config.trainer_nice);
  Examination examination;
  const auto ended = process::run_to_end(command, patience);
  examination.worked = ended && !ended->signalled && ended->code == 0;
  examination.ended = ended ? ended->describe() : ended.error().what;
  std::istringstream lines(read_file(output.file(), max_output).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (const auto space = line.find(' '); space != std::string::npos) {
      examination.facts[line.substr(0, space)] = line.substr(space + 1);
    }
  }
  return examination;
}

}  // namespace

Findings check_trainer(const Config& config) {
  const std::string program = config.trainer_program.string();
  const Examination examination = examine_trainer(config);
  const auto fact = [&](const char* name) {
    const auto found = examination.facts.find(name);
    return found == examination.facts.end() ? std::string("unknown") : found->second;
  };
  if (!examination.worked) {
    return {problem("trainer", fmt::format("{} {}", program, examination.ended),
                    "install flops-trainer; run it by hand to see why it fails: " + program + " examine")};
  }
  Findings findings{good("trainer", fmt::format("{}: LibTorch {}, {} threads, device {}", program, fact("torch"),
                                                fact("threads"), fact("device")))};
  if (config.trainer_device == "cuda" && fact("device") != "cuda") {
    findings.push_back(problem("CUDA", fact("no-cuda"),
                               "training goes on with the CPU; mend it, or set trainer.device = \"auto\" or \"cpu\""));
  }
  const double gflops = std::strtod(fact("gflops").c_str(), nullptr);
  const bool reference = fact("blas").find("openblas") == std::string::npos && fact("blas") != "unknown" &&
                         fact("blas").find("mkl") == std::string::npos &&
                         fact("blas").find("atlas") == std::string::npos;
  const std::string text = fmt::format("{}, {} GFLOP/s", fact("blas"), fact("gflops"));
  findings.push_back(
      reference || gflops < slow_gflops
          ? note("BLAS", text, "a reference BLAS trains three times slower: apt install libopenblas0-pthread")
          : good("BLAS", text));
  return findings;
}

}  // namespace flops::agent
