#include "part_file.hpp"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "flops/core/io.hpp"

namespace flops::aggregation {

Result<PartFile> PartFile::create(const ModelFolder& models) {
  const std::filesystem::path temporary = models.unfinished_file();
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating {}", temporary.string())));
  }
  return PartFile(temporary, std::move(fd));
}

PartFile::PartFile(PartFile&& other) noexcept
    : temporary_(std::exchange(other.temporary_, {})), fd_(std::move(other.fd_)) {}

PartFile::~PartFile() {
  if (!temporary_.empty()) {
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
  }
}

Result<> PartFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (auto written = write_at(fd_.get(), offset, bytes); !written) {
    return fail(written.error(), fmt::format("writing {}", temporary_.string()));
  }
  (void)::sync_file_range(fd_.get(), static_cast<off64_t>(offset), static_cast<off64_t>(bytes.size()),
                          SYNC_FILE_RANGE_WRITE);
  return {};
}

Result<> PartFile::finish(const std::filesystem::path& name) {
  if (::fsync(fd_.get()) != 0 || ::rename(temporary_.c_str(), name.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("storing {}", name.string())));
  }
  temporary_.clear();
  return sync_folder(name.parent_path());
}

}  // namespace flops::aggregation
