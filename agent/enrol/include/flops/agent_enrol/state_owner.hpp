// Whose the state folder is: what an administrator does to it by hand, as root, must leave files that the service can
// read, which runs as a user of its own.
#pragma once

#include <filesystem>

#include "flops/core/error.hpp"

namespace flops::agent {

// Makes a process of root's, with all its threads, one of the state folder's owner, for good. Does nothing for other
// users, and where the folder is root's or does not exist yet. denied: the kernel refuses it.
[[nodiscard]] Result<> act_as_state_owner(const std::filesystem::path& state_folder);

}  // namespace flops::agent
