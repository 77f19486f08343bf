// The virtual learners: their names, which samples each has, and what its device is like.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/models/dataset.hpp"
#include "flops/sim/project.hpp"

namespace flops::sim {

class Population {
 public:
  // permanent: data that cannot be read, an impossible partition.
  [[nodiscard]] static Result<Population> load(const Project& project);

  [[nodiscard]] const std::set<DeviceId>& names() const { return names_; }
  // Its place among the learners, from 0 on.
  [[nodiscard]] std::size_t number(const DeviceId& learner) const { return numbers_.at(learner); }
  [[nodiscard]] std::uint64_t train_samples(const DeviceId& learner) const;
  [[nodiscard]] std::uint64_t test_samples(const DeviceId& learner) const;
  // Copies of the learner's own samples, in their order in the data set. Any thread.
  [[nodiscard]] models::Split train_split(const DeviceId& learner) const;
  [[nodiscard]] models::Split test_split(const DeviceId& learner) const;
  // Everybody's test samples.
  [[nodiscard]] const models::Split& whole_test() const { return test_; }

  // How fast the device is, against the profile's speed.
  [[nodiscard]] double speed(const DeviceId& learner) const;

 private:
  using Places = std::vector<std::vector<std::uint32_t>>;  // of the samples in the whole split, one list a learner
  [[nodiscard]] Result<> cut(const Project& project);
  [[nodiscard]] Result<> gather(const Project& project);
  [[nodiscard]] Result<> name(const std::vector<std::string>& names);

  models::Split train_;
  models::Split test_;
  Places train_places_;
  Places test_places_;
  std::set<DeviceId> names_;
  std::map<DeviceId, std::size_t> numbers_;
  double speed_spread_ = 0;
  std::uint64_t seed_ = 0;
};

// A uniform draw in (0, 1) that its arguments alone determine.
[[nodiscard]] double draw(std::uint64_t seed, std::string_view what, const DeviceId& learner, std::int64_t round);

}  // namespace flops::sim
