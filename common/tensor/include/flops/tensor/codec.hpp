// Codecs: how a parameter vector travels, given a base vector both sides hold.
//
// lossless: bit-exact for every float32, NaN included. Per element the bits of value and base, as unsigned 32-bit
// integers, are subtracted modulo 2^32; the difference, read as signed, is zigzag-coded (small differences of either
// sign become small numbers); each block's bytes are shuffled (all lowest bytes first, ...) and each of the four planes
// is compressed with zstd, or stored when that does not help. docs/protocol-codec.md gives the exact bytes.
//
// Blocks are independent, so decoding needs two blocks of memory, whatever the size of the model. A decoder
// trusts nothing: every length is checked before it is used, a frame must decompress to exactly the bytes announced.
#pragma once

#include <cstdint>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/tensor/stream.hpp"

namespace flops::tensor {

enum class Codec { lossless };

[[nodiscard]] std::string_view to_string(Codec codec);
[[nodiscard]] Result<Codec> parse_codec(std::string_view name);

// Upper bound of encoded bytes for `count` elements (at most max_parameters), reached by noise: what a receiver may
// refuse to go beyond.
[[nodiscard]] std::uint64_t max_encoded_bytes(Codec codec, std::uint64_t count);

// Encodes `count` elements. `base` = zeros() when the receiver holds nothing. Errors are those of the streams;
// permanent: more than max_parameters elements.
[[nodiscard]] Result<> encode(Codec codec, std::uint64_t count, const FloatSource& values, const FloatSource& base,
                              const ByteSink& out);

// The inverse. `encoded_bytes` is the blob's size. corrupt: malformed, truncated, trailing bytes, another count, a
// frame that expands to anything but its block.
[[nodiscard]] Result<> decode(std::uint64_t count, std::uint64_t encoded_bytes, const ByteSource& in,
                              const FloatSource& base, const FloatSink& out);

}  // namespace flops::tensor
