#include "flops/agent_enrol/state_owner.hpp"

#include <cerrno>

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

namespace flops::agent {

Result<> act_as_state_owner(const std::filesystem::path& state_folder) {
  struct stat folder{};
  if (::geteuid() != 0 || ::stat(state_folder.c_str(), &folder) != 0 || folder.st_uid == 0) {
    return {};
  }
  // Groups while it is still allowed.
  if (::setgroups(1, &folder.st_gid) != 0 || ::setresgid(folder.st_gid, folder.st_gid, folder.st_gid) != 0 ||
      ::setresuid(folder.st_uid, folder.st_uid, folder.st_uid) != 0) {
    return fail(errno_error(errno, fmt::format("becoming the owner of {}", state_folder.string())));
  }
  // What else is written belongs to the service alone.
  ::umask(0077);
  return {};
}

}  // namespace flops::agent
