// Stands in front of libc's functions of the same names.
#include "system_calls.hpp"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace flops::blob::testing {
namespace {

std::vector<SystemCall> recorded;
int syncs_to_refusal = 0;

std::string path_of(int fd) {
  char path[4096] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return ::readlink(link.c_str(), path, sizeof path - 1) > 0 ? path : "";
}

}  // namespace

void record_system_calls() {
  recorded.clear();
  syncs_to_refusal = 0;
}
const std::vector<SystemCall>& system_calls() {
  return recorded;
}
void refuse_sync(int n) {
  syncs_to_refusal = n;
}

}  // namespace flops::blob::testing

using namespace flops::blob::testing;

extern "C" {

int fsync(int fd) {
  if (syncs_to_refusal > 0 && --syncs_to_refusal == 0) {
    errno = EIO;
    return -1;
  }
  recorded.push_back({SystemCall::Kind::sync, path_of(fd), {}});
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

int rename(const char* from, const char* to) noexcept {
  recorded.push_back({SystemCall::Kind::rename, from, to});
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int mkdir(const char* folder, mode_t mode) noexcept {
  recorded.push_back({SystemCall::Kind::make_folder, folder, {}});
  return static_cast<int>(::syscall(SYS_mkdirat, AT_FDCWD, folder, mode));
}

}  // extern "C"
