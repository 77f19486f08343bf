// How the functions of this library read and write long vectors: in blocks, so that memory stays small and the other
// end may be a file, a mapping, a database or memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"

namespace flops::tensor {

// Elements a block: 256 KiB of float32.
inline constexpr std::uint64_t block_elements = 65'536;

// Fills `into` with the values from `offset` (elements) on.
using FloatSource = std::function<Result<>(std::uint64_t offset, std::span<float> into)>;
// Takes the values from `offset` (elements) on. Calls come in ascending order.
using FloatSink = std::function<Result<>(std::uint64_t offset, std::span<const float> values)>;
// Fills all of `into` with the next bytes; corrupt when fewer are left.
using ByteSource = std::function<Result<>(std::span<std::byte> into)>;
using ByteSink = std::function<Result<>(std::span<const std::byte> bytes)>;

[[nodiscard]] FloatSource zeros();
[[nodiscard]] FloatSource from_memory(std::span<const float> values);  // the span must outlive the source
[[nodiscard]] FloatSink to_memory(std::span<float> values);
// Little-endian float32 at `byte_offset` of a file, by pread; the descriptor must outlive the source.
[[nodiscard]] FloatSource from_file(int fd, std::uint64_t byte_offset);
// Sequential bytes of a file from its start, by pread; never past `size`.
[[nodiscard]] ByteSource bytes_of_file(int fd, std::uint64_t size);

}  // namespace flops::tensor
