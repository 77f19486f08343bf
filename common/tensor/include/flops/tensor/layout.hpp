// The fixed order of a model's parameters and floating buffers in one flat float32 vector.
//
// A layout is identified by the SHA-256 of its canonical text, so that two parties agree on every name, shape
// and offset when their ids agree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::tensor {

inline constexpr std::size_t max_tensors = 4096;
inline constexpr std::size_t max_tensor_name = 256;
inline constexpr std::size_t max_dimensions = 8;
inline constexpr std::uint64_t max_parameters = 1ULL << 30U;

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::uint64_t offset = 0;         // in elements; computed by Layout::create
  std::uint64_t count = 0;          // elements; computed by Layout::create

  bool operator==(const TensorSpec&) const = default;
};

class Layout {
 public:
  // permanent: no tensors, a name empty, repeated, too long, not UTF-8, with control characters or "__metadata__"
  // (reserved by safetensors), a negative or zero dimension, more than the limits above (overflow included), more than
  // 1 MiB of canonical text.
  [[nodiscard]] static Result<Layout> create(std::vector<TensorSpec> tensors);
  // Reads canonical(), byte for byte: the same layout spelled otherwise is refused. The same checks.
  [[nodiscard]] static Result<Layout> parse(std::string_view canonical);

  [[nodiscard]] const std::vector<TensorSpec>& tensors() const { return tensors_; }
  [[nodiscard]] std::uint64_t parameters() const { return parameters_; }
  [[nodiscard]] std::uint64_t bytes() const { return parameters_ * sizeof(float); }
  [[nodiscard]] const Digest& id() const { return id_; }
  // JSON without spaces: [["fc.weight",[10,784]],["fc.bias",[10]]]
  [[nodiscard]] std::string canonical() const;

  bool operator==(const Layout& other) const { return id_ == other.id_; }

 private:
  std::vector<TensorSpec> tensors_;
  std::uint64_t parameters_ = 0;
  Digest id_;
};

}  // namespace flops::tensor
