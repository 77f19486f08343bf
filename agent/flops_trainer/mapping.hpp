// A memfd of float32 parameters, mapped.
#pragma once

#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>

#include "flops/core/error.hpp"

namespace flops {

class Mapping {
 public:
  enum class Access { read, write };

  // permanent when the file does not have exactly `count` values: a shorter one would end the process on access.
  [[nodiscard]] static Result<Mapping> open(int fd, std::uint64_t count, Access access) {
    struct stat info{};
    const std::uint64_t bytes = count * sizeof(float);
    if (::fstat(fd, &info) != 0 || static_cast<std::uint64_t>(info.st_size) != bytes) {
      return fail(ErrorKind::permanent, "the memory for {} parameters has {} bytes, not {}", count, info.st_size,
                  bytes);
    }
    const int protection = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
    // Populated: one call instead of a page fault every 4 KiB.
    void* const address = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (address == MAP_FAILED) {
      return fail(errno_error(errno, "mapping parameters"));
    }
    return Mapping({static_cast<float*>(address), count});
  }
  Mapping(Mapping&& other) noexcept : values_(std::exchange(other.values_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(values_, other.values_);
    return *this;
  }
  ~Mapping() {
    if (!values_.empty()) {
      ::munmap(values_.data(), values_.size_bytes());
    }
  }
  [[nodiscard]] std::span<float> values() const { return values_; }

 private:
  explicit Mapping(std::span<float> values) : values_(values) {}
  std::span<float> values_;
};

}  // namespace flops
