#include "planes.hpp"

#include <algorithm>
#include <bit>

namespace flops::tensor {
namespace {

// The planes hold skewed noise or runs of zeros: what helps is the entropy coder, and short chance matches cost more
// than they save. Level 1 with long matches only is smaller and 1.2 to 2.5 times as fast as level 3 here
// (bench_tensor).
constexpr int zstd_level = 1;
constexpr int zstd_min_match = 7;

void store_u32(std::byte* to, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) {
    to[i] = static_cast<std::byte>(value >> 8 * i & 0xffU);
  }
}

void split_bits(const float* __restrict values, const float* __restrict base, std::size_t count,
                std::byte* __restrict p0, std::byte* __restrict p1, std::byte* __restrict p2,
                std::byte* __restrict p3) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t difference = std::bit_cast<std::uint32_t>(values[i]) - std::bit_cast<std::uint32_t>(base[i]);
    const std::uint32_t zigzag = (difference << 1U) ^ (0U - (difference >> 31U));
    p0[i] = static_cast<std::byte>(zigzag);
    p1[i] = static_cast<std::byte>(zigzag >> 8U);
    p2[i] = static_cast<std::byte>(zigzag >> 16U);
    p3[i] = static_cast<std::byte>(zigzag >> 24U);
  }
}

void join_bits(float* __restrict values, std::size_t count, const std::byte* __restrict p0,
               const std::byte* __restrict p1, const std::byte* __restrict p2, const std::byte* __restrict p3) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t zigzag = std::to_integer<std::uint32_t>(p0[i]) | std::to_integer<std::uint32_t>(p1[i]) << 8U |
                                 std::to_integer<std::uint32_t>(p2[i]) << 16U |
                                 std::to_integer<std::uint32_t>(p3[i]) << 24U;
    const std::uint32_t difference = (zigzag >> 1U) ^ (0U - (zigzag & 1U));
    values[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(values[i]) + difference);
  }
}

}  // namespace

Planes::Planes(std::size_t capacity) : capacity_(capacity), bytes_(capacity * plane_count) {}

void Planes::split(std::span<const float> values, std::span<const float> base) {
  std::byte* p = bytes_.data();
  split_bits(values.data(), base.data(), values.size(), p, p + capacity_, p + 2 * capacity_, p + 3 * capacity_);
}

void Planes::join(std::span<float> values) const {
  const std::byte* p = bytes_.data();
  join_bits(values.data(), values.size(), p, p + capacity_, p + 2 * capacity_, p + 3 * capacity_);
}

bool looks_like_noise(std::span<const std::byte> plane) {
  constexpr std::size_t samples = 4096;
  if (plane.size() < samples) {
    return false;
  }
  // Counts pairs of equal samples. Noise has samples^2 / 256 of them, give or take half a percent; an eighth
  // more means about 0.09 bits of 8 to gain. Whole numbers only: every machine decides alike.
  const std::size_t stride = plane.size() / samples;
  std::array<std::uint32_t, 256> counts{};
  for (std::size_t i = 0; i < samples; ++i) {
    ++counts[std::to_integer<std::size_t>(plane[i * stride])];
  }
  std::uint64_t pairs = 0;
  for (const std::uint64_t count : counts) {
    pairs += count * (count - std::min<std::uint64_t>(count, 1));
  }
  constexpr std::uint64_t expected = samples * (samples - 1) / 256;
  return pairs < expected + expected / 8;
}

Result<PlaneWriter> PlaneWriter::create() {
  PlaneWriter writer;
  writer.context_.reset(ZSTD_createCCtx());
  if (writer.context_ == nullptr) {
    return fail(ErrorKind::resource, "no memory to compress");
  }
  if (ZSTD_isError(ZSTD_CCtx_setParameter(writer.context_.get(), ZSTD_c_compressionLevel, zstd_level)) != 0 ||
      ZSTD_isError(ZSTD_CCtx_setParameter(writer.context_.get(), ZSTD_c_minMatch, zstd_min_match)) != 0) {
    return fail(ErrorKind::bug, "zstd refuses its parameters");
  }
  return writer;
}

Result<> PlaneWriter::append(std::span<const std::byte> plane, std::vector<std::byte>& to) {
  const std::size_t start = to.size();
  const std::size_t room = ZSTD_compressBound(plane.size());
  to.resize(start + plane_prefix + room);
  std::byte* const bytes = to.data() + start + plane_prefix;
  std::size_t size = plane.size();
  if (!looks_like_noise(plane)) {
    size = ZSTD_compress2(context_.get(), bytes, room, plane.data(), plane.size());
    if (ZSTD_isError(size) != 0) {
      return fail(ErrorKind::resource, "compressing: {}", ZSTD_getErrorName(size));
    }
  }
  std::uint32_t flag = compressed_flag;
  if (size >= plane.size()) {
    size = plane.size();
    flag = 0;
    std::ranges::copy(plane, bytes);
  }
  store_u32(bytes - plane_prefix, static_cast<std::uint32_t>(size) | flag);
  to.resize(start + plane_prefix + size);
  return {};
}

Result<PlaneReader> PlaneReader::create() {
  PlaneReader reader;
  reader.context_.reset(ZSTD_createDCtx());
  if (reader.context_ == nullptr) {
    return fail(ErrorKind::resource, "no memory to decompress");
  }
  return reader;
}

Result<> PlaneReader::expand(std::span<const std::byte> frame, std::span<std::byte> plane) {
  const unsigned long long content = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (content != plane.size()) {
    return fail(ErrorKind::corrupt, "not a zstd frame of {} bytes", plane.size());
  }
  // One frame and nothing behind it: zstd itself would go on with the next.
  if (ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size()) {
    return fail(ErrorKind::corrupt, "not exactly one zstd frame");
  }
  const std::size_t size = ZSTD_decompressDCtx(context_.get(), plane.data(), plane.size(), frame.data(), frame.size());
  if (ZSTD_isError(size) != 0) {
    return fail(ErrorKind::corrupt, "{}", ZSTD_getErrorName(size));
  }
  if (size != plane.size()) {
    return fail(ErrorKind::corrupt, "{} bytes instead of {}", size, plane.size());
  }
  return {};
}

}  // namespace flops::tensor
