#include "limb_planes.hpp"

#include <limits>

namespace flops::tensor {
namespace {

__extension__ using Wide = unsigned __int128;

}  // namespace

void LimbPlanes::split(std::span<const std::int64_t> high, std::span<const std::uint32_t> low) {
  for (std::size_t i = 0; i < high.size(); ++i) {
    const auto sign = static_cast<std::uint64_t>(high[i] >> 63U);  // all ones: negative
    const Wide number = Wide{static_cast<std::uint64_t>(high[i])} << 32U | low[i];
    const Wide zigzag = number << 1U ^ (Wide{sign} << 64U | sign);
    for (std::size_t k = 0; k < limb_plane_count; ++k) {
      bytes_[k * capacity_ + i] = static_cast<std::byte>(zigzag >> 8 * k & 0xffU);
    }
  }
}

bool LimbPlanes::join(std::span<std::int64_t> high, std::span<std::uint32_t> low, std::uint64_t weight) const {
  const Wide limit = Wide{std::numeric_limits<std::int64_t>::max()} * weight;
  bool good = true;
  for (std::size_t i = 0; i < high.size(); ++i) {
    Wide zigzag = 0;
    for (std::size_t k = 0; k < limb_plane_count; ++k) {
      zigzag |= Wide{std::to_integer<std::uint64_t>(bytes_[k * capacity_ + i])} << 8 * k;
    }
    const Wide odd = zigzag & 1U;
    // n >= 0 became 2n, n < 0 became 2|n| - 1.
    good = good && (zigzag >> 1U) + odd <= limit;
    const Wide number = zigzag >> 1U ^ (Wide{0} - odd);
    high[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(number >> 32U));
    low[i] = static_cast<std::uint32_t>(number);
  }
  return good;
}

}  // namespace flops::tensor
