// One block of a partial sum: 96-bit numbers, zigzag-coded, split into twelve planes of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace flops::tensor {

inline constexpr std::size_t limb_plane_count = 12;

class LimbPlanes {
 public:
  explicit LimbPlanes(std::size_t capacity) : capacity_(capacity), bytes_(capacity * limb_plane_count) {}
  // Lowest bytes first.
  [[nodiscard]] std::span<std::byte> plane(std::size_t index, std::size_t count) {
    return std::span(bytes_).subspan(index * capacity_, count);
  }

  // planes = shuffle(zigzag(high:low))
  void split(std::span<const std::int64_t> high, std::span<const std::uint32_t> low);
  // The inverse. False when a number's magnitude is above (2^63 - 1) * weight; 0 < weight < 2^31.
  [[nodiscard]] bool join(std::span<std::int64_t> high, std::span<std::uint32_t> low, std::uint64_t weight) const;

 private:
  std::size_t capacity_;
  std::vector<std::byte> bytes_;
};

}  // namespace flops::tensor
