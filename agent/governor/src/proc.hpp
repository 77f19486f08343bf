// What the files of /proc say, from their text. Any text may come; what does not make sense is unknown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flops/agent_governor/readings.hpp"

namespace flops::agent::proc {

// /proc/stat, the line of all processors; `own` stays 0.
[[nodiscard]] std::optional<CpuTimes> cpu_times(std::string_view stat);
// /proc/<pid>/stat: ticks of the process and of its children that have been waited for.
[[nodiscard]] std::optional<std::uint64_t> process_ticks(std::string_view stat);
// /proc/pressure/memory: some, avg10, in percent.
[[nodiscard]] std::optional<double> memory_pressure(std::string_view pressure);
// /proc/net/route and /proc/net/ipv6_route: the interface of the default route with the lowest metric; that of IPv4
// when there is one.
[[nodiscard]] std::optional<std::string> default_interface(std::string_view route, std::string_view ipv6_route);

}  // namespace flops::agent::proc
