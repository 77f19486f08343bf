// Exact weighted sums of parameter vectors.
//
// Integer addition is associative and commutative, so the sum has the same bytes whatever the order of arrival, the
// number of threads, a restart in the middle, or the tree of partial sums; and a contribution can be taken out again.
// (Reproducible summation: Demmel and Nguyen, "Parallel Reproducible Summation", 2015; Neal, "Fast exact summation
// using small and large superaccumulators", 2015.)
//
// A value x of a tensor with scale E must satisfy |x| < 2^E and becomes q = x * 2^(63-E), a 64-bit integer, rounded
// half to even (exact unless x has bits below 2^(E-63)). q times a 32-bit weight is added to 96 bits, kept as a 64-bit
// high and a 32-bit low limb: three times the memory of the model. Weights sum to less than 2^31.
//
// The mean differs from the true weighted mean by at most half a unit of 2^(E-63) before the final rounding to
// float32, i.e. at most one unit in the last place of every result larger than 2^(E-39).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/tensor/stream.hpp"
#include "flops/tensor/zeroed_array.hpp"

namespace flops::tensor {

inline constexpr std::uint64_t max_total_weight = (1ULL << 31U) - 1;
inline constexpr int min_scale = -60;
inline constexpr int max_scale = 127;

class CountedReader;

// One exponent a tensor, in layout order. All aggregators of a round use the same ones.
using Scales = std::vector<int>;

// From the base model: the smallest e with every magnitude of the tensor below 2^e, plus 8 bits of room to grow, at
// least 4, at most max_scale. Not finite values are `corrupt`.
[[nodiscard]] Result<Scales> choose_scales(const Layout& layout, const FloatSource& base);

// A change that began elsewhere: it led from `from` to `to`, and is to be made at `now`, giving now + (to - from).
// Three spans of the same elements.
struct Step {
  std::span<const float> from, to, now;
};

class Accumulator {
 public:
  // permanent: scales do not fit the layout. resource: memory.
  [[nodiscard]] static Result<Accumulator> create(const Layout& layout, Scales scales);

  // Adds weight * values for the elements from `offset` on. permanent: NaN, infinity or a value outside its tensor's
  // range ("update refused: fc1.weight[12] = 3e+38 is outside ±2^4"), a span outside the layout, a weight of 0 or above
  // max_total_weight; then nothing of this span was added.
  // Calls for disjoint ranges may run in different threads.
  [[nodiscard]] Result<> add(std::uint64_t offset, std::span<const float> values, std::uint32_t weight);
  // Takes the same span out again; exact. The caller passes what it added before; a span that add() refuses was
  // never added and changes nothing.
  void subtract(std::uint64_t offset, std::span<const float> values, std::uint32_t weight);

  // The same for now + (to - from). Each of the three is rounded to the grid on its own and the rest is exact, so that
  // these sums do not depend on order either. permanent also when a result is outside its tensor's range.
  [[nodiscard]] Result<> add_step(std::uint64_t offset, const Step& step, std::uint32_t weight);
  void subtract_step(std::uint64_t offset, const Step& step, std::uint32_t weight);

  // Counts a whole contribution, after all its spans were added. permanent when the weight is 0 or the total would
  // pass max_total_weight: check with fits() before adding.
  [[nodiscard]] bool fits(std::uint32_t weight) const {
    return weight > 0 && total_weight_ + weight <= max_total_weight;
  }
  void count(std::uint32_t weight) { total_weight_ += weight; }
  [[nodiscard]] std::uint64_t total_weight() const { return total_weight_; }

  // Adds a partial sum with the same layout and scales. permanent when they differ or the total weight is too large.
  [[nodiscard]] Result<> merge(const Accumulator& other);

  // As if every weight had been so many times as large; exact. permanent: the factor is 0, or the total weight would
  // pass max_total_weight.
  [[nodiscard]] Result<> multiply(std::uint64_t factor);

  // A partial sum as bytes, to be merged elsewhere: docs/protocol-codec.md, "Partial sums". Errors are the sink's;
  // permanent: nothing was counted.
  [[nodiscard]] Result<> write(const ByteSink& out) const;
  // The inverse, for the layout and scales of the round. `bytes`: of the whole. The sender is not trusted. corrupt:
  // another format, layout or scales, a total weight of 0 or above max_total_weight, truncated, trailing bytes, sums
  // that no values within the scales give with that weight. resource: memory.
  [[nodiscard]] static Result<Accumulator> read(const Layout& layout, const Scales& scales, std::uint64_t bytes,
                                                const ByteSource& in);

  // The weighted mean, rounded once to float32 per element. bug when nothing was counted.
  [[nodiscard]] Result<> mean(const FloatSink& out) const;

  [[nodiscard]] const Scales& scales() const { return scales_; }
  [[nodiscard]] std::uint64_t memory_bytes() const { return high_.size() * 8 + low_.size() * 4; }

 private:
  Accumulator(Layout layout, Scales scales);
  [[nodiscard]] Result<> write_blocks(const ByteSink& out) const;
  [[nodiscard]] Result<> read_blocks(CountedReader& in);
  Layout layout_;
  Scales scales_;
  ZeroedArray<std::int64_t> high_;
  ZeroedArray<std::uint32_t> low_;
  std::uint64_t total_weight_ = 0;
};

// Upper bound of the bytes of a partial sum: what a receiver may refuse to go beyond.
[[nodiscard]] std::uint64_t max_partial_sum_bytes(const Layout& layout);

}  // namespace flops::tensor
