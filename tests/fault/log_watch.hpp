// The lines that programs append to their logs, as they appear: whoever listens is called within a fraction of a
// millisecond, so that a process can be struck in the state it has just reported. Loop's thread only.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "flops/core/error.hpp"

namespace flops::faults {

class LogWatch {
 public:
  // The program is the file's name without ".log".
  using OnLine = std::function<void(const std::string& program, const std::string& line)>;

  [[nodiscard]] static Result<std::unique_ptr<LogWatch>> open(boost::asio::io_context& loop,
                                                              std::filesystem::path folder);

  int listen(OnLine on_line);
  void forget(int listener);

 private:
  struct File {
    std::uintmax_t read = 0;
    std::string rest;  // a line that is not complete yet
  };
  LogWatch(boost::asio::io_context& loop, std::filesystem::path folder, int inotify);
  void wait();
  void read_all();
  void read_new(const std::filesystem::path& path, File& file);
  void tell(const std::string& program, const std::string& line);

  std::filesystem::path folder_;
  boost::asio::posix::stream_descriptor changes_;
  std::map<std::string, File> files_;
  std::map<int, OnLine> listeners_;
  int next_listener_ = 1;
};

}  // namespace flops::faults
