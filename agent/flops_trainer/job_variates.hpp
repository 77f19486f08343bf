// SCAFFOLD's side of a training job: the server's variate behind the base model, the device's own, and the new one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include "flops/core/error.hpp"
#include "flops/models/training.hpp"
#include "flops/tensor/control_variates.hpp"
#include "mapping.hpp"

namespace flops {

class JobVariates {
 public:
  // `travelling` holds [x, c], `own` the device's variate of `count` values and room for the new one. permanent: it has
  // another size.
  [[nodiscard]] static Result<JobVariates> open(Mapping travelling, int own, std::uint64_t count) {
    auto mapped = Mapping::open(own, 2 * count, Mapping::Access::write);
    if (!mapped) {
      return fail(mapped.error(), "control variates");
    }
    return JobVariates(std::move(travelling), *std::move(mapped), count);
  }

  // For a training from its start or from a checkpoint, as often as one likes.
  [[nodiscard]] models::ControlVariates begin() const {
    std::ranges::copy(before(), after().begin());
    return {server(), after()};
  }
  // After the training.
  void write_returned(std::span<float> into) const { tensor::variate_to_return(server(), before(), after(), into); }

 private:
  JobVariates(Mapping travelling, Mapping own, std::uint64_t count)
      : travelling_(std::move(travelling)), own_(std::move(own)), count_(count) {}
  [[nodiscard]] std::span<const float> server() const { return travelling_.values().subspan(count_); }
  [[nodiscard]] std::span<const float> before() const { return own_.values().first(count_); }
  [[nodiscard]] std::span<float> after() const { return own_.values().subspan(count_); }

  Mapping travelling_;
  Mapping own_;
  std::uint64_t count_;
};

}  // namespace flops
