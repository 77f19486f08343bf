// Opens arbitrary bytes as a safetensors file. What opens must have a layout whose text reads back to itself.
#include <cstdlib>

#include <sys/mman.h>

#include "flops/tensor/safetensors.hpp"

using namespace flops;
using namespace flops::tensor;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Fd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), data, size) != static_cast<ssize_t>(size)) {
    std::abort();
  }
  const auto file = open_safetensors(fmt::format("/proc/self/fd/{}", fd.get()));
  if (!file) {
    return 0;
  }
  const auto again = Layout::parse(file->layout.canonical());
  if (!again || *again != file->layout || !model_digest(file->layout, file->values())) {
    std::abort();
  }
  return 0;
}
