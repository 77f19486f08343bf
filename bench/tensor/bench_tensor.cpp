// How fast the tensor library encodes, decodes and aggregates a model of the size of the McMahan CNN, on one core.
// Each figure is the median of several repetitions.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/codec.hpp"

namespace {

using namespace flops;
using namespace flops::tensor;

constexpr std::size_t parameters = 1'663'370;
constexpr int repetitions = 9;

double median_seconds(const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i < repetitions; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::nth_element(seconds, seconds.begin() + repetitions / 2);
  return seconds[repetitions / 2];
}

void report(const char* what, double seconds) {
  fmt::print("{:<34} {:9.2f} ms  {:6.2f} ns/parameter  {:7.0f} MB/s\n", what, seconds * 1e3,
             seconds * 1e9 / static_cast<double>(parameters), static_cast<double>(parameters) * 4e-6 / seconds);
}

void expect(const Result<>& result) {
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().what);
    std::abort();
  }
}

std::vector<float> normal_values(std::uint64_t seed, double deviation) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<float> values(parameters);
  std::ranges::generate(values, [&] { return static_cast<float>(normal(random)); });
  return values;
}

// Local training moves every weight a little: `relative` is the standard deviation of the step to that of the weights.
// One weight in five has no gradient (dead inputs, inactive units).
std::vector<float> trained(const std::vector<float>& base, double relative) {
  std::vector<float> values = normal_values(2, 0.03 * relative);
  for (std::size_t i = 0; i < parameters; ++i) {
    values[i] = i % 5 == 0 ? base[i] : base[i] + values[i];
  }
  return values;
}

ByteSource read_from(std::span<const std::byte> bytes) {
  return [bytes](std::span<std::byte> into) mutable -> Result<> {
    std::ranges::copy(bytes.first(into.size()), into.begin());
    bytes = bytes.subspan(into.size());
    return {};
  };
}

void bench_codec(const std::vector<float>& base, double relative) {
  const std::vector<float> values = trained(base, relative);
  std::vector<std::byte> blob;
  blob.reserve(max_encoded_bytes(Codec::lossless, parameters));
  const auto append = [&blob](std::span<const std::byte> bytes) -> Result<> {
    blob.insert(blob.end(), bytes.begin(), bytes.end());
    return {};
  };
  const double encoding = median_seconds([&] {
    blob.clear();
    expect(encode(Codec::lossless, parameters, from_memory(values), from_memory(base), append));
  });
  std::vector<float> out(parameters);
  const double decoding = median_seconds(
      [&] { expect(decode(parameters, blob.size(), read_from(blob), from_memory(base), to_memory(out))); });
  fmt::print("lossless, step {:.4f} of the weights: ratio {:.3f}\n", relative,
             static_cast<double>(blob.size()) / (4.0 * static_cast<double>(parameters)));
  report("  encode", encoding);
  report("  decode", decoding);
}

void bench_accumulator(const std::vector<float>& values) {
  const Layout layout = Layout::create({{"all", {static_cast<std::int64_t>(parameters)}, 0, 0}}).value();
  const Accumulator empty = Accumulator::create(layout, choose_scales(layout, from_memory(values)).value()).value();
  Accumulator sum = empty;
  const auto add_all = [&](std::uint32_t weight) {
    for (std::size_t at = 0; at < parameters; at += block_elements) {
      const std::size_t size = std::min<std::size_t>(block_elements, parameters - at);
      expect(sum.add(at, std::span(values).subspan(at, size), weight));
    }
    sum.count(weight);
  };
  report("accumulator add", median_seconds([&] { add_all(600); }));
  const double hundred = median_seconds([&] {
    sum = empty;
    for (std::uint32_t i = 1; i <= 100; ++i) {
      add_all(500 + i);
    }
  });
  fmt::print("{:<34} {:9.2f} ms\n", "accumulator, 100 updates", hundred * 1e3);
  std::vector<float> mean(parameters);
  report("accumulator mean", median_seconds([&] { expect(sum.mean(to_memory(mean))); }));
  Accumulator other = sum;
  report("accumulator merge", median_seconds([&] { expect(sum.merge(other)); }));
}

}  // namespace

int main() {
  const std::vector<float> base = normal_values(1, 0.03);
  fmt::print("{} parameters, {:.2f} MB\n", parameters, static_cast<double>(parameters) * 4e-6);
  for (const double relative : {0.1, 0.03, 0.01, 0.001}) {
    bench_codec(base, relative);
  }
  bench_accumulator(base);
}
