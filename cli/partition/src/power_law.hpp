// Few classes a device, and sizes that differ by orders of magnitude: the MNIST split of Li et al., "Federated
// Optimization in Heterogeneous Networks", MLSys 2020.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/partition/random.hpp"
#include "flops/partition/split.hpp"

namespace flops::partition {

inline constexpr std::size_t label_values = 256;
using Classes = std::array<std::vector<std::uint32_t>, label_values>;

// Device d gets samples of `per_device` classes, the d-th and those after it. Of each it gets five, and of what is left
// a share in proportion to a log-normal draw (of a normal with deviation 2). permanent: not enough samples for five.
[[nodiscard]] Result<Assignment> cut_power_law(const Classes& classes, std::uint32_t per_device, std::uint32_t devices,
                                               Random& random);

}  // namespace flops::partition
