// What has to be in the registry: written at once or, while the storage is in trouble, later, in its order.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::coordinator {

class Records {
 public:
  // As many devices may have something to record at once.
  static constexpr std::size_t max_waiting = 100'000;
  using Step = std::function<Result<>()>;

  // `key` names what is recorded: a newer value takes the place of one that waits. An error of the storage's is
  // returned and the step waits; one that no waiting helps (permanent, bug) is returned and the step is forgotten.
  // Success while it only waits behind others.
  [[nodiscard]] Result<> write(std::string key, Step step);
  // Nothing waits.
  [[nodiscard]] bool settled() const { return waiting_.empty(); }
  // All that waits, until one fails; its error.
  [[nodiscard]] Result<> retry();

 private:
  struct Waiting {
    std::string key;
    Step step;
  };
  std::vector<Waiting> waiting_;
};

// Whether waiting may help.
[[nodiscard]] bool is_storage_trouble(const Error& error);

}  // namespace flops::coordinator
