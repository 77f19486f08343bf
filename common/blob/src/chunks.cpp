#include "flops/blob/chunks.hpp"

namespace flops::blob {

bool ChunkSet::add(std::uint32_t n) {
  if (n >= present_.size() || present_[n]) {
    return false;
  }
  present_[n] = true;
  ++number_present_;
  return true;
}

ChunkRanges ChunkSet::missing(std::uint32_t at_most) const {
  ChunkRanges ranges;
  std::uint32_t found = 0;
  for (std::uint32_t n = 0; n < count() && found < at_most; ++n) {
    if (present_[n]) {
      continue;
    }
    ++found;
    if (!ranges.empty() && ranges.back().second + 1 == n) {
      ranges.back().second = n;
    } else {
      ranges.emplace_back(n, n);
    }
  }
  return ranges;
}

}  // namespace flops::blob
