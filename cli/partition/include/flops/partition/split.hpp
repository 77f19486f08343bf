// Which sample goes to which device. Plain functions over labels: no files, no clock; equal arguments give equal splits
// on every machine.
//
//   iid          shuffled and cut evenly
//   dirichlet:A  each class is divided by proportions drawn from Dirichlet(A); small A: few classes a device
//                (Hsu, Qi and Brown, 2019)
//   shards:K     every class is cut into shards, each device gets K of them, so at most K classes (McMahan et al.,
//                2017)
//   powerlaw:K   K classes a device, of each a share that is drawn from a log-normal distribution: sizes differ by
//   orders
//                of magnitude (Li et al., MLSys 2020)
//
// Every sample goes to exactly one device, and no device stays without one. The test split follows the train split:
// a device gets of each class's test samples the share it has of the class's train samples.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::partition {

inline constexpr std::uint32_t max_devices = 10'000;

struct Scheme {
  enum class Kind { iid, dirichlet, shards, power_law } kind = Kind::iid;
  double alpha = 0;          // dirichlet
  std::uint32_t shards = 0;  // shards a device; power_law: classes a device

  // permanent, with what is allowed. alpha 0.001 to 1e6, shards 1 to 1000.
  [[nodiscard]] static Result<Scheme> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
};

// Sample indices, one ascending list a device.
using Assignment = std::vector<std::vector<std::uint32_t>>;
struct Split {
  Assignment train;
  Assignment test;
};

// permanent: no devices, more devices than samples in either split, fewer shards than classes or more than samples.
[[nodiscard]] Result<Split> split(std::span<const std::uint8_t> train_labels, std::span<const std::uint8_t> test_labels,
                                  const Scheme& scheme, std::uint32_t devices, std::uint64_t seed);

}  // namespace flops::partition
