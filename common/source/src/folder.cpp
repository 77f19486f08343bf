// A folder, whose files are reached name by name, so that no link leads out of it, not even one that is put there
// meanwhile.
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "flops/source/source.hpp"

namespace flops::source {
namespace {

Result<Fd> open_beneath(const Fd& folder, const std::string& path) {
  Fd above(::fcntl(folder.get(), F_DUPFD_CLOEXEC, 0));
  for (std::size_t begin = 0;;) {
    const std::size_t slash = path.find('/', begin);
    const std::string name = path.substr(begin, slash - begin);
    const bool last = slash == std::string::npos;
    // Not blocking: a pipe without a writer would be waited for.
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY);
    Fd next(::openat(above.get(), name.c_str(), flags));
    if (!next.valid()) {
      if (errno == ELOOP || (errno == ENOTDIR && !last)) {
        return fail(ErrorKind::permanent, "{}: links are not followed, and only folders have files in them", path);
      }
      return errno == ENOENT ? fail(ErrorKind::permanent, "{}: there is no such file", path)
                             : fail(errno_error(errno, path));
    }
    if (last) {
      return next;
    }
    above = std::move(next);
    begin = slash + 1;
  }
}

class Folder final : public Files {
 public:
  explicit Folder(Fd folder) : folder_(std::move(folder)) {}

  [[nodiscard]] Result<std::string> read(const std::string& path, std::uint64_t limit) const override {
    if (const std::string problem = path_problem(path); !problem.empty()) {
      return fail(ErrorKind::permanent, "'{}': {}", path, problem);
    }
    auto file = open_beneath(folder_, path);
    if (!file) {
      return fail(file.error());
    }
    struct stat about{};
    if (::fstat(file->get(), &about) != 0 || !S_ISREG(about.st_mode)) {
      return fail(ErrorKind::permanent, "{}: not a regular file", path);
    }
    if (std::cmp_greater(about.st_size, limit)) {
      return fail(ErrorKind::resource, "{}: {} bytes; at most {} are read", path, about.st_size, limit);
    }
    // Its size may change while it is read.
    std::string content(static_cast<std::size_t>(about.st_size), '\0');
    std::size_t done = 0;
    while (done < content.size()) {
      const ssize_t n = ::read(file->get(), content.data() + done, content.size() - done);
      if (n < 0 && errno != EINTR) {
        return fail(errno_error(errno, "reading " + path));
      }
      if (n == 0) {
        content.resize(done);
      }
      done += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return content;
  }

  [[nodiscard]] const std::string& commit() const override { return commit_; }

 private:
  Fd folder_;
  std::string commit_;
};

}  // namespace

Result<std::unique_ptr<Files>> open_folder(const std::filesystem::path& folder) {
  Fd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.valid()) {
    return fail(ErrorKind::permanent, "{}: {}", folder.string(),
                errno == ENOENT    ? "there is no such folder"
                : errno == ENOTDIR ? "it is no folder"
                                   : errno_error(errno, "opening").what);
  }
  return std::make_unique<Folder>(std::move(opened));
}

}  // namespace flops::source
