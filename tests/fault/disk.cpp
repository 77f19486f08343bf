#include "disk.hpp"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "flops/core/file.hpp"

namespace flops::faults {
namespace {

constexpr const char* filler = "filler";

std::filesystem::path image_of(const std::filesystem::path& folder) {
  return folder.string() + ".ext4";
}

}  // namespace

Result<> mount_small_disk(const std::filesystem::path& folder, int megabytes) {
  if (auto made = make_folder(folder, 0700); !made) {
    return made;
  }
  const std::string options = fmt::format("size={}m,mode=0700", megabytes);
  if (::mount("none", folder.c_str(), "tmpfs", 0, options.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("mounting a disk at {}", folder.string())));
  }
  return {};
}

Result<> mount_image(Stage& stage, const std::filesystem::path& folder, int megabytes) {
  if (auto made = make_folder(folder, 0700); !made) {
    return made;
  }
  const std::string image = image_of(folder).string();
  for (const auto& [program, arguments] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"mkfs.ext4", {"-q", image, fmt::format("{}m", megabytes)}},
           {"mount", {"-o", "loop", image, folder.string()}},
       }) {
    if (auto done = run_tool(stage, program, arguments); !done) {
      return done;
    }
  }
  return {};
}

Result<> fill_disk(const std::filesystem::path& folder) {
  const Fd file(::open((folder / filler).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return errno == ENOSPC ? Result<>() : fail(errno_error(errno, "filling the disk"));
  }
  const std::array<char, 65536> zeros{};
  std::size_t block = zeros.size();
  while (block > 0) {
    if (::write(file.get(), zeros.data(), block) < 0) {
      if (errno != ENOSPC) {
        return fail(errno_error(errno, "filling the disk"));
      }
      block /= 2;  // down to the last byte
    }
  }
  return {};
}

Result<> empty_disk(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove(folder / filler, error);
  return error ? fail(errno_error(error.value(), "emptying the disk")) : Result<>();
}

Result<> abort_image(Stage& stage, const std::filesystem::path& folder) {
  return run_tool(stage, "mount", {"-o", "remount,abort", folder.string()});
}

Result<> repair_image(Stage& stage, const std::filesystem::path& folder) {
  // The broker of a coordinator that was killed ends a little later.
  Result<> unmounted;
  auto let_go = stage.until_polled("nobody to use the disk", [&] {
    unmounted = run_tool(stage, "umount", {folder.string()});
    return unmounted.has_value();
  });
  if (!let_go) {
    return unmounted ? let_go : unmounted;
  }
  // fsck says 1 when it has repaired something: mounting replays the journal anyway.
  return run_tool(stage, "mount", {"-o", "loop", image_of(folder).string(), folder.string()});
}

}  // namespace flops::faults
