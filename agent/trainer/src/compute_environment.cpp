#include "flops/trainer/compute_environment.hpp"

#include <cstdlib>

namespace flops::trainer {
namespace {

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return false;
#endif
}

}  // namespace

std::vector<std::pair<std::string, std::string>> compute_environment(int threads) {
  std::vector<std::pair<std::string, std::string>> variables = {
      {"OMP_WAIT_POLICY", "passive"}, {"OPENBLAS_THREAD_TIMEOUT", "4"}, {"CUBLAS_WORKSPACE_CONFIG", ":4096:8"}};
  if (threads > 0) {
    variables.emplace_back("OMP_NUM_THREADS", std::to_string(threads));
    variables.emplace_back("OPENBLAS_NUM_THREADS", std::to_string(threads));
  }
  if (has_avx2() && std::getenv("OPENBLAS_CORETYPE") == nullptr) {
    variables.emplace_back("OPENBLAS_CORETYPE", "Haswell");
  }
  return variables;
}

}  // namespace flops::trainer
