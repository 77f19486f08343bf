#include "state_lock.hpp"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "flops/core/file.hpp"

namespace flops::agent {

Result<Fd> lock_state(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "lock";
  Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening {}", file.string())));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return fail(errno_error(errno, fmt::format("locking {}", file.string())));
    }
    auto holder = read_file(file, 64);
    return fail(ErrorKind::denied,
                "another flops-agent (process {}) uses the state folder {}; stop it, or give this one its own "
                "[state] folder",
                holder && !holder->empty() ? *holder : "unknown", folder.string());
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return fail(errno_error(errno, fmt::format("writing {}", file.string())));
  }
  return fd;
}

}  // namespace flops::agent
