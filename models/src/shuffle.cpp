#include <array>
#include <bit>
#include <numeric>
#include <utility>

#include "flops/models/training.hpp"

namespace flops::models {
namespace {

// xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. The standard library's distributions and
// std::shuffle are not the same everywhere; this is.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) {
    std::uint64_t mix = seed ^ (stream * 0xD1B54A32D192ED03ULL);
    for (std::uint64_t& word : state_) {
      mix += 0x9E3779B97F4A7C15ULL;
      std::uint64_t z = mix;
      z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
      z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
      word = z ^ (z >> 31U);
    }
  }

  // Uniform in [0, bound): the upper bits of a draw, drawn again where a value would be favoured.
  std::uint32_t below(std::uint32_t bound) {
    const std::uint32_t favoured = (0U - bound) % bound;
    for (;;) {
      const std::uint64_t product = (next() >> 32U) * bound;
      if (static_cast<std::uint32_t>(product) >= favoured) {
        return static_cast<std::uint32_t>(product >> 32U);
      }
    }
  }

 private:
  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace

std::vector<std::uint32_t> shuffled(std::uint32_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  Random random(seed, epoch + 1);
  for (std::uint32_t left = count; left > 1; --left) {
    std::swap(order[left - 1], order[random.below(left)]);
  }
  return order;
}

}  // namespace flops::models
