#include "flops/test/failing_files.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "flops/core/fd.hpp"

namespace flops::test {

FailingFiles::FailingFiles(std::filesystem::path library, std::filesystem::path file)
    : library_(std::move(library)), file_(std::move(file)) {
  const Fd fd(::open(file_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  void* const address =
      fd.valid() && ::ftruncate(fd.get(), sizeof(FailingFilesState)) == 0
          ? ::mmap(nullptr, sizeof(FailingFilesState), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0)
          : MAP_FAILED;
  if (address == MAP_FAILED || !std::filesystem::exists(library_)) {
    std::perror(file_.c_str());
    std::abort();
  }
  state_ = static_cast<FailingFilesState*>(address);  // zeros
}

FailingFiles::~FailingFiles() {
  ::munmap(state_, sizeof(FailingFilesState));
}

std::vector<std::pair<std::string, std::string>> FailingFiles::environment() const {
  const char* const sanitizer = std::getenv("ASAN_OPTIONS");
  return {{"LD_PRELOAD", library_.string()},
          {failing_files_variable, file_.string()},
          // A sanitizer's library wants to be the first one.
          {"ASAN_OPTIONS", (sanitizer != nullptr ? std::string(sanitizer) + ":" : "") + "verify_asan_link_order=0"}};
}

void FailingFiles::fail(int operations, std::string_view part, int code) {
  work();
  const std::size_t length = std::min(part.size(), state_->part.size() - 1);
  std::copy_n(part.begin(), length, state_->part.begin());
  state_->part[length] = '\0';
  state_->code = code;
  state_->operations = operations;
}

}  // namespace flops::test
