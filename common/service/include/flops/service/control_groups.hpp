// The control group that a service manager has given this program to divide (Delegate= of systemd.resource-control(5)):
// the program itself goes into "agent", its workers into "trainer". Between groups the kernel shares processor and
// memory by the groups' weights, whatever the priorities inside: so the trainer's gets only what all others leave.
//
// cgroup v2, Documentation/admin-guide/cgroup-v2.rst.
#pragma once

#include <filesystem>
#include <optional>

namespace flops::service {

// Call before any other process is started. The group for workers; none when this program has no group of its own to
// divide (cgroup v1, no Delegate=, another owner). `root`: where the file system of groups and proc are.
[[nodiscard]] std::optional<std::filesystem::path> divide_control_group(const std::filesystem::path& root = "/");

}  // namespace flops::service
