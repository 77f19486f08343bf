#include "file_io.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::blob {

Result<> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return fail(errno_error(errno, "writing a blob"));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<> read_at(int fd, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return fail(errno_error(errno, "reading a blob"));
    }
    if (n == 0) {
      return fail(ErrorKind::corrupt, "the file ends at {}, {} more bytes were expected", offset, into.size());
    }
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<std::uint64_t> file_size(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) {
    return fail(errno_error(errno, "asking for the size of a blob"));
  }
  return static_cast<std::uint64_t>(status.st_size);
}

Result<Digest> digest_of(int fd, std::uint64_t size) {
  crypto::Sha256 hash;
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(size, io_block)));
  for (std::uint64_t offset = 0; offset < size;) {
    const auto block =
        std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(size - offset, io_block)));
    if (auto read = read_at(fd, offset, block); !read) {
      return fail(std::move(read.error()));
    }
    hash.update(block);
    offset += block.size();
  }
  return hash.finish();
}

Result<> sync_folder(const std::filesystem::path& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return fail(errno_error(errno, fmt::format("syncing folder {}", folder.string())));
  }
  return {};
}

}  // namespace flops::blob
