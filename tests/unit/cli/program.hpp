// The real flopsctl, as a child with its output read through pipes.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "flops/core/fd.hpp"

namespace flops::cli_test {

[[nodiscard]] std::filesystem::path flopsctl_path();

struct Ended {
  int status = -1;  // exit status; 128 + signal when killed by one
  std::string out;
  std::string err;
};

class Program {
 public:
  // Without $HOME and $FLOPSCTL_CONFIG of the caller, unless `environment` sets them.
  explicit Program(const std::vector<std::string>& arguments,
                   const std::map<std::string, std::string>& environment = {});
  ~Program();  // SIGKILL if it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const;
  // What it has written to stdout so far.
  [[nodiscard]] std::string output_so_far();
  // Waits for the end, at most the patience of the tests; then it is killed and the status says so.
  [[nodiscard]] Ended wait();

 private:
  void read_available(int timeout_ms);

  pid_t pid_ = -1;
  Fd out_;
  Fd err_;
  std::string out_text_;
  std::string err_text_;
};

[[nodiscard]] Ended run(const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& environment = {});

}  // namespace flops::cli_test
