// A large array of zeros straight from the kernel. Its pages are zero when they are first touched, so nothing clears
// them before; and they are huge where the kernel allows it (madvise(2), MADV_HUGEPAGE): a page fault for every 2 MiB
// instead of one for every 4 KiB. Not for many small arrays: each takes whole pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <sys/mman.h>

namespace flops::tensor {

template <class T>
class ZeroedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  ZeroedArray() = default;
  // Throws std::bad_alloc.
  explicit ZeroedArray(std::size_t size) {
    if (size == 0) {
      return;
    }
    if (size > max_bytes / sizeof(T)) {
      throw std::bad_alloc();
    }
    void* const pages = ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
      throw std::bad_alloc();
    }
    static_cast<void>(::madvise(pages, size * sizeof(T), MADV_HUGEPAGE));  // only faster
    values_ = {static_cast<T*>(pages), size};
  }
  ZeroedArray(const ZeroedArray& other) : ZeroedArray(other.size()) {
    std::ranges::copy(other.values_, values_.begin());
  }
  ZeroedArray(ZeroedArray&& other) noexcept : values_(std::exchange(other.values_, {})) {}
  ZeroedArray& operator=(ZeroedArray other) noexcept {
    std::swap(values_, other.values_);
    return *this;
  }
  ~ZeroedArray() {
    if (!values_.empty()) {
      ::munmap(values_.data(), values_.size_bytes());
    }
  }

  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] T* data() { return values_.data(); }
  [[nodiscard]] const T* data() const { return values_.data(); }

 private:
  static constexpr std::size_t max_bytes = std::size_t{1} << 46U;
  std::span<T> values_;
};

}  // namespace flops::tensor
