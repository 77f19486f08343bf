#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "flops/core/file.hpp"
#include "flops/service/control_groups.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;

namespace {

void write(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

// The files that the kernel has in a group; those of the children are there before it is divided, because no kernel
// makes them here.
void make_group(const std::filesystem::path& group) {
  for (const char* file :
       {"cgroup.procs", "cgroup.subtree_control", "agent/cgroup.procs", "agent/memory.low", "trainer/cgroup.procs",
        "trainer/cpu.idle", "trainer/cpu.weight", "trainer/memory.oom.group"}) {
    write(group / file, "");
  }
}

}  // namespace

TEST_CASE("service: a control group that was given is divided, and the trainer's gets what is left") {
  const test::TemporaryFolder root;
  const auto group = root / "sys/fs/cgroup/flops.slice/flops-agent.service";
  make_group(group);
  write(root / "proc/self/cgroup", "0::/flops.slice/flops-agent.service\n");
  CHECK(service::divide_control_group(root.path()) == group / "trainer");
  CHECK(read_file(group / "agent/cgroup.procs").value() == "0");
  CHECK(read_file(group / "trainer/cpu.idle").value() == "1");
  CHECK(read_file(group / "trainer/memory.oom.group").value() == "1");
  CHECK(read_file(group / "trainer/cgroup.procs").value().empty());
}

TEST_CASE("service: what was not given stays as it is") {
  const test::TemporaryFolder root;
  CHECK_FALSE(service::divide_control_group(root.path()).has_value());  // no proc
  write(root / "proc/self/cgroup", "5:cpu:/\n1:name=systemd:/\n");
  CHECK_FALSE(service::divide_control_group(root.path()).has_value());  // version 1
  write(root / "proc/self/cgroup", "5:cpu:/\n0::/user.slice/session-1.scope\n");
  make_group(root / "sys/fs/cgroup/user.slice/session-1.scope");
  CHECK_FALSE(service::divide_control_group(root.path()).has_value());  // a person's session
  CHECK(read_file(root / "sys/fs/cgroup/user.slice/session-1.scope/agent/cgroup.procs").value().empty());
}
