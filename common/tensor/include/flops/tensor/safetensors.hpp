// safetensors (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, a JSON header,
// the raw tensors. We write float32 only, tensors in layout order, so the data part is the flat vector itself.
//
// Reading treats the file as hostile: header at most 1 MiB, offsets must be in order, without holes or overlap, inside
// the file, and agree with dtype and shape; duplicate names, other dtypes than F32 and trailing bytes are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/tensor/stream.hpp"

namespace flops::tensor {

inline constexpr std::uint64_t max_safetensors_header = 1U << 20U;

struct SafetensorsFile {
  Fd fd;
  Layout layout;
  std::uint64_t data_offset = 0;  // bytes
  std::map<std::string, std::string> metadata;

  [[nodiscard]] FloatSource values() const { return from_file(fd.get(), data_offset); }
};

// corrupt: anything the format or the rules above forbid, with what and where.
[[nodiscard]] Result<SafetensorsFile> open_safetensors(const std::filesystem::path& file);

// Header bytes (length prefix included) for a layout; padded with spaces so that data starts at a multiple of 8.
[[nodiscard]] std::string safetensors_header(const Layout& layout, const std::map<std::string, std::string>& metadata);

// Writes beside `file`, syncs, renames.
[[nodiscard]] Result<> write_safetensors(const std::filesystem::path& file, const Layout& layout,
                                         const std::map<std::string, std::string>& metadata, const FloatSource& values);

// SHA-256(layout id bytes, then all values as little-endian float32): the identity of a model version.
[[nodiscard]] Result<Digest> model_digest(const Layout& layout, const FloatSource& values);

}  // namespace flops::tensor
