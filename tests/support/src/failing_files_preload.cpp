// The library that failing_files.hpp describes. It stands between the program and libc, and uses system calls, so that
// it works before anything is initialised and beside a sanitizer.
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "flops/test/failing_files.hpp"

namespace {

using flops::test::FailingFiles;
using flops::test::FailingFilesState;

FailingFilesState nowhere{};
FailingFilesState* shared = &nowhere;

// Not for the children.
__attribute__((constructor)) void attach() {
  const char* const file = std::getenv(flops::test::failing_files_variable);
  const long fd = file != nullptr ? ::syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0) : -1;
  ::unsetenv("LD_PRELOAD");
  if (fd < 0) {
    return;
  }
  void* const address =
      ::mmap(nullptr, sizeof(FailingFilesState), PROT_READ | PROT_WRITE, MAP_SHARED, static_cast<int>(fd), 0);
  ::syscall(SYS_close, fd);
  if (address != MAP_FAILED) {
    shared = static_cast<FailingFilesState*>(address);
  }
}

bool wanted(int operation) {
  return (shared->operations & operation) != 0;
}

bool fails_at(const char* path) {
  if (std::strstr(path, shared->part.data()) == nullptr) {
    return false;
  }
  ++shared->failures;
  errno = shared->code;
  return true;
}

bool fails(int operation, int fd) {
  if (!wanted(operation)) {
    return false;
  }
  // "/proc/self/fd/" and ten digits, without anything that might allocate.
  char link[32] = "/proc/self/fd/";
  char digits[12];
  std::size_t count = 0;
  for (unsigned number = static_cast<unsigned>(fd); count == 0 || number > 0; number /= 10) {
    digits[count++] = static_cast<char>('0' + number % 10);
  }
  std::size_t at = std::strlen(link);
  while (count > 0) {
    link[at++] = digits[--count];
  }
  link[at] = '\0';
  char path[4096];
  const long length = ::syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (length < 0) {
    return false;
  }
  path[length] = '\0';
  return fails_at(path);
}

int open_file(int folder, const char* path, int flags, mode_t mode) {
  if (wanted(FailingFiles::open) && fails_at(path)) {
    return -1;
  }
  return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));
}

mode_t mode_of(int flags, va_list& arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

ssize_t read_file(int fd, void* into, std::size_t bytes, off64_t offset) {
  return fails(FailingFiles::read, fd) ? -1 : ::syscall(SYS_pread64, fd, into, bytes, offset);
}

ssize_t write_file(int fd, const void* from, std::size_t bytes, off64_t offset) {
  return fails(FailingFiles::write, fd) ? -1 : ::syscall(SYS_pwrite64, fd, from, bytes, offset);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_file(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_file(folder, path, flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_file(folder, path, flags | O_LARGEFILE, mode);
}

ssize_t read(int fd, void* into, std::size_t bytes) {
  return fails(FailingFiles::read, fd) ? -1 : ::syscall(SYS_read, fd, into, bytes);
}

ssize_t pread(int fd, void* into, std::size_t bytes, off_t offset) {
  return read_file(fd, into, bytes, offset);
}

ssize_t pread64(int fd, void* into, std::size_t bytes, off64_t offset) {
  return read_file(fd, into, bytes, offset);
}

ssize_t write(int fd, const void* from, std::size_t bytes) {
  return fails(FailingFiles::write, fd) ? -1 : ::syscall(SYS_write, fd, from, bytes);
}

ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) {
  return write_file(fd, from, bytes, offset);
}

ssize_t pwrite64(int fd, const void* from, std::size_t bytes, off64_t offset) {
  return write_file(fd, from, bytes, offset);
}

int fsync(int fd) {
  return fails(FailingFiles::sync, fd) ? -1 : static_cast<int>(::syscall(SYS_fsync, fd));
}

int fdatasync(int fd) {
  return fails(FailingFiles::sync, fd) ? -1 : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

}  // extern "C"
