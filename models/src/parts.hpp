// LibTorch's side of a model, shared by this library's sources.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "memory.hpp"
#include "net.hpp"

namespace flops::models {

struct Model::Parts {
  ModelInfo info;
  std::shared_ptr<Net> net;
  torch::Device device;
  tensor::Layout layout;
  std::vector<torch::Tensor> tensors;  // in layout order, contiguous float32, on the device
};

// Runs `work` (which returns a Result) and turns what LibTorch throws into an error.
template <class Work>
auto guarded(std::string_view doing, Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::resource, "{}: out of memory", doing);
  } catch (const std::exception& thrown) {
    // LibTorch's messages go on with a stack trace; the first line says it.
    const std::string_view all = thrown.what();
    const std::string_view line = all.substr(0, all.find('\n'));
    const bool memory = line.find("allocate") != std::string_view::npos;
    return fail(memory ? ErrorKind::resource : ErrorKind::permanent, "{}: {}", doing, line);
  }
}

}  // namespace flops::models
