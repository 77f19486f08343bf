#include "flops/service/control_groups.hpp"

#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/file.hpp"
#include "flops/core/log.hpp"

namespace flops::service {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t largest_file = 65536;

// Files of the kernel: written in one go, never created.
bool write_value(const fs::path& file, std::string_view value) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  const bool written = ::write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  ::close(fd);
  return written;
}

// "0::/system.slice/flops-agent.service" of /proc/self/cgroup; empty when groups are of version 1.
std::string own_group(const fs::path& root) {
  const std::string text = read_file(root / "proc/self/cgroup", largest_file).value_or("");
  constexpr std::string_view unified = "0::";
  const auto begin = text.starts_with(unified) ? 0 : text.find("\n0::");
  if (begin == std::string::npos) {
    return {};
  }
  const auto path = text.find('/', begin);
  return path == std::string::npos ? std::string() : text.substr(path + 1, text.find('\n', path) - path - 1);
}

// The manager gives a group away by making its user the owner. A user's own session is not meant.
bool is_given(const fs::path& group) {
  struct stat found{};
  return ::stat(group.c_str(), &found) == 0 && found.st_uid == ::geteuid() && group.extension() == ".service" &&
         ::access((group / "cgroup.subtree_control").c_str(), W_OK) == 0;
}

}  // namespace

std::optional<fs::path> divide_control_group(const fs::path& root) {
  const std::string own = own_group(root);
  const fs::path group = root / "sys/fs/cgroup" / own;
  if (own.empty() || !is_given(group)) {
    return std::nullopt;
  }
  const fs::path agent = group / "agent";
  fs::path trainer = group / "trainer";
  std::error_code error;
  fs::create_directory(agent, error);
  fs::create_directory(trainer, error);
  // First out of the way: a group with processes of its own cannot share anything out.
  if (!write_value(agent / "cgroup.procs", "0") || !fs::is_directory(trainer, error)) {
    log::warn("service", "the control group {} cannot be divided; the trainer shares it with the agent",
              group.string());
    return std::nullopt;
  }
  for (const char* controller : {"+cpu", "+memory", "+pids"}) {
    (void)write_value(group / "cgroup.subtree_control", controller);
  }
  if (!write_value(trainer / "cpu.idle", "1")) {
    (void)write_value(trainer / "cpu.weight", "1");  // kernels before 5.15
  }
  // The agent's few MiB stay when memory is short; what a task needs can be made again.
  (void)write_value(agent / "memory.low", "33554432");
  (void)write_value(trainer / "memory.oom.group", "1");
  log::info("service", "trainers live in {}", trainer.string());
  return trainer;
}

}  // namespace flops::service
