// Reads arbitrary bytes as a partial sum, with the header they have and with one that is right. What is read has a
// mean, and is read again from what it is written as.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "flops/tensor/accumulator.hpp"

using namespace flops;
using namespace flops::tensor;

namespace {

using Bytes = std::vector<std::byte>;

ByteSource read_from(std::span<const std::byte> bytes) {
  return [bytes](std::span<std::byte> into) mutable -> Result<> {
    if (into.size() > bytes.size()) {
      return fail(ErrorKind::corrupt, "no more bytes");
    }
    std::ranges::copy(bytes.first(into.size()), into.begin());
    bytes = bytes.subspan(into.size());
    return {};
  };
}

Bytes written(const Accumulator& sum) {
  Bytes bytes;
  const auto append = [&bytes](std::span<const std::byte> more) -> Result<> {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return {};
  };
  if (!sum.write(append)) {
    std::abort();
  }
  return bytes;
}

void try_to_read(const Layout& layout, const Scales& scales, const Bytes& bytes) {
  const auto sum = Accumulator::read(layout, scales, bytes.size(), read_from(bytes));
  if (!sum) {
    return;
  }
  std::vector<float> mean(layout.parameters());
  const Bytes once = written(*sum);
  const auto again = Accumulator::read(layout, scales, once.size(), read_from(once));
  if (!sum->mean(to_memory(mean)) || once.size() > max_partial_sum_bytes(layout) || !again || written(*again) != once ||
      again->total_weight() != sum->total_weight()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 8) {
    return 0;
  }
  constexpr std::size_t header_size = 56 + 2;
  constexpr std::size_t weight_at = 40;
  // Small, so that cases stay fast; the first byte decides whether there are several blocks.
  const std::int64_t count = data[0] % 16 == 0 ? 70'000 : 1 + data[0] / 16;
  const Layout layout = Layout::create({{"a", {count}, 0, 0}, {"b", {3}, 0, 0}}).value();
  const Scales scales{4, -3};
  const auto input = std::as_bytes(std::span(data, size)).subspan(1);
  try_to_read(layout, scales, Bytes(input.begin(), input.end()));

  Accumulator one = Accumulator::create(layout, scales).value();
  one.count(1);
  Bytes bytes = written(one);
  bytes.resize(header_size);
  std::memcpy(&bytes[weight_at], input.data(), 4);  // four bytes: the top bit and 0 are out of range
  bytes.insert(bytes.end(), input.begin() + 4, input.end());
  try_to_read(layout, scales, bytes);
  return 0;
}
