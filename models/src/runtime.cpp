#include "flops/models/runtime.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <dlfcn.h>

#include <fmt/format.h>
#include <torch/torch.h>
#include <torch/version.h>

#include "parts.hpp"

namespace flops::models {
namespace {

constexpr std::int64_t side = 512;
constexpr int attempts = 5;

// Debian lets the administrator choose: the name of the library says nothing, the file that it leads to does.
std::string blas() {
  void* const product = ::dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info found{};
  if (product == nullptr || ::dladdr(product, &found) == 0 || found.dli_fname == nullptr) {
    return "inside LibTorch";
  }
  std::error_code error;
  const auto file = std::filesystem::canonical(found.dli_fname, error);
  return error ? std::string(found.dli_fname) : file.string();
}

double best_gflops(torch::Device device) {
  const torch::NoGradGuard no_gradients;
  const auto a = torch::ones({side, side}, device);
  const auto b = torch::ones({side, side}, device);
  double best = 0;
  for (int attempt = 0; attempt <= attempts; ++attempt) {  // the first one warms up
    const auto begin = std::chrono::steady_clock::now();
    (void)torch::mm(a, b)[0][0].item<float>();  // waits for it
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = attempt == 0 ? 0 : std::max(best, 2.0 * side * side * side / seconds.count() / 1e9);
  }
  return best;
}

// LibTorch's half for CUDA is a library of its own, beside the one that is loaded. A program that names nothing of it
// does not load it by itself. Empty: it is there.
std::string load_cuda() {
  Dl_info found{};
  if (::dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &found) == 0 || found.dli_fname == nullptr) {
    return "the place of LibTorch is not known";
  }
  const auto file = std::filesystem::path(found.dli_fname).parent_path() / "libtorch_cuda.so";
  if (::dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) {
    return "";
  }
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return fmt::format("this LibTorch is made without CUDA: there is no {}", file.string());
  }
  return fmt::format("{}", ::dlerror());
}

// Empty: a product comes out right.
std::string try_cuda() {
  const auto tried = guarded("CUDA does not work", []() -> Result<> {
    if (!torch::cuda::is_available()) {
      return fail(ErrorKind::resource,
                  "LibTorch finds no CUDA device: is the driver there, and may this user open its devices?");
    }
    if (const auto sum = torch::ones({2, 2}, torch::kCUDA).mm(torch::ones({2, 2}, torch::kCUDA)).sum().item<float>();
        sum != 8) {
      return fail(ErrorKind::permanent, "CUDA computes nonsense: the sum of a product is {} and not 8", sum);
    }
    return {};
  });
  return tried ? "" : tried.error().what;
}

}  // namespace

std::string_view to_string(Device device) {
  return device == Device::cuda ? "cuda" : "cpu";
}

DeviceChoice best_device() {
  std::string problem = load_cuda();
  if (problem.empty()) {
    problem = try_cuda();
  }
  if (!problem.empty()) {
    return {Device::cpu, std::move(problem)};
  }
  // Some kernels have no deterministic form there, the maximum of a pooling among them.
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  return {Device::cuda, ""};
}

std::vector<std::pair<std::string, std::string>> runtime_facts(const DeviceChoice& choice) {
  std::vector<std::pair<std::string, std::string>> facts = {{"torch", TORCH_VERSION},
                                                            {"threads", std::to_string(at::get_num_threads())},
                                                            {"device", std::string(to_string(choice.device))}};
  if (!choice.reason.empty()) {
    facts.emplace_back("no-cuda", choice.reason);
  }
  facts.emplace_back("blas", blas());
  facts.emplace_back("gflops", fmt::format("{:.1f}", best_gflops(torch_device(choice.device))));
  return facts;
}

}  // namespace flops::models
