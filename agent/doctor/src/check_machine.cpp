#include <sys/timex.h>
#include <unistd.h>

#include "checks.hpp"
#include "flops/agent_data/idx.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/health/clock_check.hpp"
#include "flops/health/storage_check.hpp"

namespace flops::agent {
namespace {

constexpr std::uint64_t comfortable = std::uint64_t{512} << 20U;  // a model of a few MiB in all its copies, and updates

std::string mib(std::uint64_t bytes) {
  return fmt::format("{} MiB", bytes >> 20U);
}

}  // namespace

Finding check_folder(const Config& config) {
  const std::string folder = config.state_folder.string();
  std::error_code error;
  if (!std::filesystem::is_directory(config.state_folder, error)) {
    return note("state folder", fmt::format("{} is not there yet; enrolling makes it", folder));
  }
  if (::access(folder.c_str(), R_OK | W_OK | X_OK) != 0) {
    return problem("state folder", fmt::format("user {} cannot read and write {}", ::geteuid(), folder),
                   fmt::format("run as the agent's user, or: chown -R flops-agent: {}", folder));
  }
  return good("state folder", folder);
}

Finding check_room(const Config& config) {
  std::filesystem::path there = config.state_folder;
  std::error_code error;
  while (!std::filesystem::exists(there, error) && there.has_parent_path() && there != there.parent_path()) {
    there = there.parent_path();
  }
  const auto space = disk_space(there);
  if (!space) {
    return problem("disk", space.error().what, "look at the file system");
  }
  if (space->read_only) {
    return problem("disk", fmt::format("{} is on a file system that is mounted read-only", there.string()),
                   "look for errors of the card or disk in the kernel's log (dmesg), repair, mount it anew");
  }
  if (space->free < health::room_margin) {
    return problem("disk", fmt::format("{} free at {}", mib(space->free), there.string()), "make room");
  }
  const std::string text = fmt::format("{} free at {}", mib(space->free), there.string());
  return space->free < comfortable
             ? note("disk", text, "a task needs three times its model; larger models will wait for room")
             : good("disk", text);
}

Finding check_clock_set(const Config& /*config*/, const Identity* identity, std::int64_t newest_time_seen) {
  const std::int64_t now = unix_ms(SystemClock().wall()) / 1000;
  const auto finding = identity != nullptr ? check_clock(*identity, now, newest_time_seen)
                                           : health::judge_clock(now, {}, newest_time_seen);
  if (finding.clock_is_wrong()) {
    return problem("clock", finding.text, "set the time, or let systemd-timesyncd or chrony do it");
  }
  timex state{};
  const bool synchronised = ::adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
  const std::string text = fmt::format("{} UTC", iso8601(now * 1000));
  return synchronised ? good("clock", text)
                      : note("clock", text + ", not synchronised by anything that the kernel knows of",
                             "let systemd-timesyncd or chrony keep it: certificates depend on it");
}

Findings check_datasets(const Config& config) {
  if (config.datasets.empty()) {
    return {note("data", "no [[dataset]] in the configuration",
                 "without one the device gets no training tasks; see flops-agent --print-config")};
  }
  Findings findings;
  for (const trainer::DatasetFiles& files : config.datasets) {
    const std::string subject = fmt::format("data set {}", files.tag);
    auto train = count_idx_samples(files.train_samples, files.train_labels);
    auto test = count_idx_samples(files.test_samples, files.test_labels);
    if (!train || !test) {
      findings.push_back(problem(subject, train ? test.error().what : train.error().what,
                                 "it is not offered to the fleet until its files can be read by the agent's user"));
    } else {
      findings.push_back(good(subject, fmt::format("{} training, {} test samples", *train, *test)));
    }
  }
  return findings;
}

}  // namespace flops::agent
