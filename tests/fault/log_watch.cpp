#include "log_watch.hpp"

#include <array>
#include <cerrno>
#include <fstream>

#include <sys/inotify.h>
#include <unistd.h>

namespace flops::faults {

LogWatch::LogWatch(boost::asio::io_context& loop, std::filesystem::path folder, int inotify)
    : folder_(std::move(folder)), changes_(loop, inotify) {}

Result<std::unique_ptr<LogWatch>> LogWatch::open(boost::asio::io_context& loop, std::filesystem::path folder) {
  const int inotify = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify < 0) {
    return fail(errno_error(errno, "watching logs"));
  }
  std::unique_ptr<LogWatch> watch(new LogWatch(loop, std::move(folder), inotify));
  if (::inotify_add_watch(inotify, watch->folder_.c_str(), IN_MODIFY | IN_CREATE) < 0) {
    return fail(errno_error(errno, fmt::format("watching {}", watch->folder_.string())));
  }
  watch->wait();
  return watch;
}

int LogWatch::listen(OnLine on_line) {
  listeners_.emplace(next_listener_, std::move(on_line));
  return next_listener_++;
}

void LogWatch::forget(int listener) {
  listeners_.erase(listener);
}

void LogWatch::wait() {
  changes_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](boost::system::error_code error) {
    if (error) {
      return;
    }
    std::array<char, 16384> events;
    while (::read(changes_.native_handle(), events.data(), events.size()) > 0) {
    }
    read_all();
    wait();
  });
}

void LogWatch::read_all() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    if (entry.path().extension() == ".log") {
      read_new(entry.path(), files_[entry.path().stem().string()]);
    }
  }
}

void LogWatch::read_new(const std::filesystem::path& path, File& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size <= file.read) {
    return;
  }
  std::string bytes(size - file.read, '\0');
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(file.read));
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(in.gcount()));
  file.read += bytes.size();
  file.rest += bytes;
  for (std::size_t end = file.rest.find('\n'); end != std::string::npos; end = file.rest.find('\n')) {
    const std::string line = file.rest.substr(0, end);
    file.rest.erase(0, end + 1);
    tell(path.stem().string(), line);
  }
}

void LogWatch::tell(const std::string& program, const std::string& line) {
  const auto listeners = listeners_;  // one may forget itself
  for (const auto& [id, on_line] : listeners) {
    on_line(program, line);
  }
}

}  // namespace flops::faults
