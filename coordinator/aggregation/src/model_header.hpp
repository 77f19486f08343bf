// What stands in front of the values in every model file.
#pragma once

#include <string>

#include "flops/tensor/safetensors.hpp"

namespace flops::aggregation {

[[nodiscard]] inline std::string model_header(const tensor::Layout& layout) {
  return tensor::safetensors_header(layout, {{"format", "flops-edge"}});
}

}  // namespace flops::aggregation
