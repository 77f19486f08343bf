// Commands on the service's files, given by root or by the service's own user.
#include <doctest/doctest.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flops/agent_enrol/state_owner.hpp"
#include "flops/core/file.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;

namespace {

constexpr uid_t somebody = 12'345;

// In a process of its own, which cannot become root again: acts as the owner, then writes. The exit status.
int write_as_owner(const std::filesystem::path& state, const std::filesystem::path& file) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool done = agent::act_as_state_owner(state) && replace_file(file, "x", 0600);
    ::_exit(done && ::geteuid() == ::getuid() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

uid_t owner_of(const std::filesystem::path& file) {
  struct stat found{};
  REQUIRE(::stat(file.c_str(), &found) == 0);
  return found.st_uid;
}

}  // namespace

TEST_CASE("state owner: what is written in one's own folder is one's own") {
  const test::TemporaryFolder folder;
  CHECK(write_as_owner(folder.path(), folder / "key.pem") == 0);
  CHECK(owner_of(folder / "key.pem") == ::geteuid());
  CHECK(agent::act_as_state_owner(folder / "missing").has_value());
}

TEST_CASE("state owner: what root writes in the folder of a service belongs to the service") {
  if (::geteuid() != 0) {
    MESSAGE("only root can give a folder away: not tested");
    return;
  }
  const test::TemporaryFolder folder;
  REQUIRE(::chown(folder.path().c_str(), somebody, somebody) == 0);
  CHECK(write_as_owner(folder.path(), folder / "key.pem") == 0);
  CHECK(owner_of(folder / "key.pem") == somebody);
}
