// A device that LibTorch takes for CUDA, for machines without one: tensors on it have addresses that no processor can
// read, and only LibTorch's own operations get at what is there. Whoever touches a tensor's memory directly, or leaves
// one in main memory, ends with a fault or an error, as with a real device. The arithmetic is the CPU's.
#include <cstdint>
#include <cstdlib>

#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace {

// Not canonical on x86-64 and ARM: to follow such a pointer is a fault.
constexpr std::uintptr_t far_bit = std::uintptr_t{1} << 62U;
void* other_side(void* pointer) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it is all about the address
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(pointer) ^ far_bit);
}

const c10::Device device{c10::DeviceType::CUDA, 0};

void release(void* far) {
  std::free(other_side(far));
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) const override {
    if (bytes == 0) {
      return {nullptr, nullptr, &release, device};
    }
    void* const far = other_side(std::malloc(bytes));
    return {far, far, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
};
Memory memory;

// The same values as a tensor of the CPU.
at::Tensor near(const at::Tensor& values) {
  if (!values.is_cuda() || values.numel() == 0) {
    return values;
  }
  return at::from_blob(other_side(values.data_ptr()), values.sizes(), values.strides(),
                       values.options().device(at::kCPU).requires_grad(false));
}

at::Tensor empty(at::IntArrayRef size, c10::optional<at::ScalarType> type, c10::optional<at::Layout>,
                 c10::optional<at::Device>, c10::optional<bool>, c10::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(type), format);
}
at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef strides, c10::optional<at::ScalarType> type,
                         c10::optional<at::Layout>, c10::optional<at::Device>, c10::optional<bool>) {
  return at::detail::empty_strided_generic(size, strides, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           c10::dtype_or_default(type));
}
at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool) {
  near(to).copy_(near(from));
  return to;
}
at::Tensor copy_and_resize(const at::Tensor& from, const at::Tensor& to) {
  near(to).copy_(near(from));
  return to;
}
at::Tensor as_strided(const at::Tensor& values, at::IntArrayRef size, at::IntArrayRef strides,
                      c10::optional<std::int64_t> offset) {
  return at::native::as_strided_tensorimpl(values, size, strides, offset);
}
at::Tensor view(const at::Tensor& values, at::IntArrayRef size) {
  return at::native::view(values, size);
}
at::Tensor reshape_alias(const at::Tensor& values, at::IntArrayRef size, at::IntArrayRef strides) {
  return at::native::_reshape_alias(values, size, strides);
}
// The fallback below would lose the running statistics, which the operation changes without saying so in its schema.
using Maybe = c10::optional<at::Tensor>;
std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm(const at::Tensor& values, const Maybe& weight,
                                                          const Maybe& bias, const Maybe& mean, const Maybe& variance,
                                                          bool training, double momentum, double epsilon) {
  const auto maybe_near = [](const Maybe& tensor) { return tensor ? Maybe(near(*tensor)) : Maybe(); };
  const auto [out, saved_mean, saved_deviation] =
      at::native_batch_norm(near(values), maybe_near(weight), maybe_near(bias), maybe_near(mean), maybe_near(variance),
                            training, momentum, epsilon);
  return {out.to(device), saved_mean.to(device), saved_deviation.to(device)};
}
void on_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  at::native::cpu_fallback(operation, stack);
}

c10::Stream default_stream() {
  return c10::Stream(c10::Stream::DEFAULT, device);
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = c10::DeviceType::CUDA;
  c10::DeviceType type() const override { return static_type; }
  c10::Device exchangeDevice(c10::Device) const override { return device; }
  c10::Device getDevice() const override { return device; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override { return default_stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return default_stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return default_stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

// LibTorch finds it by this name.
struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  bool hasCUDA() const override { return true; }
  void initCUDA() const override {}
  bool hasPrimaryContext(std::int64_t) const override { return true; }
};

}  // namespace

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks);
}
namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, Guard);
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("copy_", &copy);
  library.impl("_copy_from_and_resize", &copy_and_resize);
  library.impl("as_strided", &as_strided);
  library.impl("view", &view);
  library.impl("_reshape_alias", &reshape_alias);
  library.impl("native_batch_norm", &batch_norm);
  // Made of other operations, by LibTorch, in another way than on the CPU.
  for (const char* whole : {"convolution", "convolution_backward", "mse_loss"}) {
    library.impl(whole, torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
  }
}
TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
}
