#include <iterator>

#include "flops/agent_daemon/daemon.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/core/version.hpp"
#include "flops/health/storage_check.hpp"
#include "time_seen.hpp"

namespace flops::agent {
namespace {

constexpr std::size_t shown_evaluations = 5;
constexpr std::int64_t seconds_a_day = 86'400;

using Text = std::back_insert_iterator<std::string>;

// As the agent would judge it now, whether it runs or not.
void add_clock(Text out, const Config& config, std::int64_t now, std::int64_t newest_seen) {
  auto identity = load_identity(config.state_folder);
  if (!identity) {
    return;  // said above
  }
  if (const auto finding = check_clock(*identity, now, newest_seen); finding.clock_is_wrong()) {
    fmt::format_to(out, "health       clock: {}\n", finding.text);
  }
}

// What can be seen without writing.
void add_space(Text out, const Config& config) {
  const std::string folder = config.state_folder.string();
  const auto space = disk_space(config.state_folder);
  if (space && space->read_only) {
    fmt::format_to(out, "health       storage: {} is on a file system that is mounted read-only\n", folder);
  } else if (space && space->free < health::room_margin) {
    fmt::format_to(out, "health       storage: {}\n",
                   health::lack_of_room(health::room_margin, space->free, "anything", folder));
  }
}

void add_identity(Text out, const Config& config, std::int64_t now) {
  if (!is_enrolled(config.state_folder)) {
    fmt::format_to(out, "enrolled     no; run: flops-agent enroll --config FILE --coordinator URL --token TOKEN\n");
    return;
  }
  auto identity = load_identity(config.state_folder);
  if (!identity) {
    fmt::format_to(out, "enrolled     damaged: {}\n", identity.error().what);
    return;
  }
  fmt::format_to(out, "enrolled     {} in fleet {}\n", identity->device, identity->fleet);
  fmt::format_to(out, "broker       {}:{}\n", identity->broker_host, identity->broker_port);
  auto life = certificate_life(*identity);
  if (!life) {
    fmt::format_to(out, "certificate  damaged: {}\n", life.error().what);
  } else if (life->not_after < now) {
    fmt::format_to(out, "certificate  expired {}; the running agent renews it when it reaches the coordinator\n",
                   iso8601(life->not_after * 1000));
  } else {
    fmt::format_to(out, "certificate  valid until {} ({} days)\n", iso8601(life->not_after * 1000),
                   (life->not_after - now) / seconds_a_day);
  }
}

Result<> add_database(Text out, Storage& storage) {
  auto datasets = storage.datasets();
  std::size_t damaged = 0;
  auto tasks = datasets ? storage.tasks(damaged) : fail(datasets.error());
  auto models = tasks ? storage.models() : fail(tasks.error());
  auto variates = models ? storage.variates() : fail(models.error());
  auto evaluations = variates ? storage.evaluations(shown_evaluations) : fail(variates.error());
  if (!evaluations) {
    return fail(evaluations.error());
  }
  for (const wire::Dataset& dataset : *datasets) {
    fmt::format_to(out, "data         {}: {} training, {} test samples\n", dataset.tag, dataset.train_samples,
                   dataset.test_samples);
  }
  fmt::format_to(out, "tasks        {}\n", tasks->size());
  for (const TaskState& state : *tasks) {
    fmt::format_to(
        out, "  {}  {}  run {} round {}{}\n", state.task.ref.task, to_string(state.phase), state.task.ref.run,
        state.task.ref.round,
        state.result && state.result->update.size > 0
            ? fmt::format("  update {} ({} bytes)", state.result->update.sha256.short_hex(), state.result->update.size)
            : "");
  }
  fmt::format_to(out, "models       {}\n", models->size());
  for (const StoredModel& model : *models) {
    fmt::format_to(out, "  {}  run {}  {} bytes\n", model.digest.short_hex(), model.run, model.bytes);
  }
  for (const StoredVariate& variate : *variates) {
    fmt::format_to(out, "variate      run {}  {} bytes\n", variate.run, variate.bytes);
  }
  for (const Evaluation& evaluation : *evaluations) {
    const wire::Metrics& metrics = evaluation.metrics;
    fmt::format_to(out, "evaluated    {}  run {} round {}  accuracy {:.4f}  loss {:.4f}  {} samples\n",
                   metrics.model.short_hex(), metrics.ref.run, metrics.ref.round, metrics.accuracy, metrics.loss,
                   metrics.samples);
  }
  return {};
}

}  // namespace

Result<std::string> status_text(const Config& config) {
  std::string text;
  const Text out = std::back_inserter(text);
  const std::int64_t now = unix_ms(SystemClock().wall());
  fmt::format_to(out, "device       {}\nagent        {}\nstate        {}\n", config.device, version,
                 config.state_folder.string());
  if (config.is_uplink()) {
    fmt::format_to(out, "site         {}\n", config.site.url);
  }
  add_identity(out, config, now / 1000);
  add_space(out, config);
  std::error_code error;
  if (!std::filesystem::exists(config.state_folder / "agent.db", error)) {
    add_clock(out, config, now / 1000, 0);
    fmt::format_to(out, "tasks        none: the agent has not run here yet\n");
    return text;
  }
  auto storage = Storage::open(config.state_folder, Damaged::refuse, now);
  if (!storage && (storage.error().kind == ErrorKind::corrupt || storage.error().kind == ErrorKind::permanent)) {
    return fail(storage.error());
  }
  if (!storage) {  // the disk's fault: what is known is better than nothing
    add_clock(out, config, now / 1000, 0);
    fmt::format_to(out, "health       storage: {}\n",
                   health::storage_trouble(storage.error(), config.state_folder.string()));
    return text;
  }
  add_clock(out, config, now / 1000, stored_time_seen(*storage));
  if (auto added = add_database(out, *storage); !added) {
    return fail(added.error());
  }
  return text;
}

}  // namespace flops::agent
