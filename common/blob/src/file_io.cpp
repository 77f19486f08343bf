#include "file_io.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/io.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::blob {

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

}  // namespace flops::blob
