#include "state_lock.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>

namespace flops::coordinator {

Result<Fd> lock_state(const std::filesystem::path& folder) {
  const auto file = folder / "lock";
  Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening {}", file.string())));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return fail(ErrorKind::permanent, "another flops-coordinator uses the state folder {}", folder.string());
    }
    return fail(errno_error(errno, fmt::format("locking {}", file.string())));
  }
  return fd;
}

}  // namespace flops::coordinator
