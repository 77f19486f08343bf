#include "flops/core/file.hpp"

#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "flops/core/io.hpp"

namespace flops {
Result<std::string> read_file(const std::filesystem::path& file, std::size_t limit) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening {}", file.string())));
  }
  std::string content;
  char buffer[16384];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return fail(errno_error(errno, fmt::format("reading {}", file.string())));
    }
    if (n == 0) {
      return content;
    }
    if (content.size() + static_cast<std::size_t>(n) > limit) {
      return fail(ErrorKind::permanent, "{} is larger than {} bytes", file.string(), limit);
    }
    content.append(buffer, static_cast<std::size_t>(n));
  }
}

Result<> replace_file(const std::filesystem::path& file, std::string_view content, unsigned mode) {
  const std::filesystem::path temporary = file.string() + ".new";
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, static_cast<mode_t>(mode)));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating {}", temporary.string())));
  }
  // An old temporary file may have had other permissions.
  if (::fchmod(fd.get(), static_cast<mode_t>(mode)) != 0) {
    return fail(errno_error(errno, fmt::format("setting permissions of {}", temporary.string())));
  }
  if (auto written = write_all(fd.get(), std::as_bytes(std::span(content))); !written) {
    return fail(written.error(), temporary.string());
  }
  if (::fsync(fd.get()) != 0) {
    return fail(errno_error(errno, fmt::format("syncing {}", temporary.string())));
  }
  fd.reset();
  if (::rename(temporary.c_str(), file.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("renaming {} to {}", temporary.string(), file.string())));
  }
  return sync_folder(file.has_parent_path() ? file.parent_path() : ".");
}

Result<> make_folder(const std::filesystem::path& folder, unsigned mode) {
  std::error_code error;
  if (std::filesystem::is_directory(folder, error)) {
    return {};
  }
  if (folder.has_parent_path() && folder.parent_path() != folder) {
    if (auto made = make_folder(folder.parent_path(), 0755); !made) {
      return made;
    }
  }
  if (::mkdir(folder.c_str(), static_cast<mode_t>(mode)) != 0 && errno != EEXIST) {
    return fail(errno_error(errno, fmt::format("creating folder {}", folder.string())));
  }
  return {};
}

Result<DiskSpace> disk_space(const std::filesystem::path& folder) {
  struct statvfs info{};
  if (::statvfs(folder.c_str(), &info) != 0) {
    return fail(errno_error(errno, fmt::format("looking for free space at {}", folder.string())));
  }
  return DiskSpace{std::uint64_t{info.f_bavail} * info.f_frsize, (info.f_flag & ST_RDONLY) != 0};
}

}  // namespace flops
