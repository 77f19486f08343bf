// Recording the active run. On a disk that is full, read-only or broken what has to be recorded waits, what follows
// from it waits too, and both go on by themselves.
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/health/storage_check.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {
namespace {

constexpr std::chrono::seconds probe_pause{5};
// A record of a few bytes may find room in the write-ahead log when no update does.
constexpr std::uint64_t probe_room = std::uint64_t{1} << 20U;

// The devices whose rows have changed, if none is gone.
std::optional<std::vector<DeviceId>> changed_rows(const rounds::RunState& before, const rounds::RunState& now) {
  std::vector<DeviceId> changed;
  std::size_t same = 0;
  for (const auto& [device, participant] : now.participants) {
    const auto found = before.participants.find(device);
    if (found == before.participants.end() || found->second != participant) {
      changed.push_back(device);
    }
    same += found != before.participants.end() ? 1U : 0U;
  }
  return same == before.participants.size() ? std::optional(changed) : std::nullopt;
}

}  // namespace

// Durable before anything is done about it. Only what changed is written: with many devices most events concern one.
void RunController::save(const rounds::RunState& before) {
  const rounds::RunState& now = active_->state;
  const auto rows = changed_rows(before, now);
  const bool same_run = before.round == now.round && before.phase == now.phase && before.wanted == now.wanted &&
                        before.failed_initialisations == now.failed_initialisations;
  const std::string key = fmt::format("run {}", now.id);
  if (same_run && rows && rows->size() == 1 && records_.settled()) {
    if (parts_.registry.save_participant(now, rows->front())) {
      return;
    }
  } else if (same_run && rows && rows->empty() && before.reason == now.reason) {
    return;
  }
  record(key, "recording the run", [&registry = parts_.registry, now] { return registry.save_run(now); });
}

void RunController::record(std::string key, std::string_view doing, Records::Step step) {
  auto written = records_.write(std::move(key), std::move(step));
  if (!written && is_storage_trouble(written.error())) {
    storage_in_trouble(written.error().within(doing));
  } else if (!written) {
    log::error("runs", "{}: {}", doing, written.error().what);
  }
}

void RunController::record_round(std::int64_t round, std::string_view state) {
  record(fmt::format("round {} {}", active_->state.id, round), "recording the round",
         [&registry = parts_.registry, run = active_->state.id, round, state = std::string(state)] {
           return registry.set_round_state(run, round, state);
         });
}

void RunController::storage_in_trouble(const Error& error) {
  parts_.health.raise(storage_condition, health::storage_trouble(error, parts_.config.state_folder.string()));
  if (!storage_probe_at_) {
    storage_probe_at_ = parts_.clock.steady() + probe_pause;
  }
}

void RunController::look_at_storage() {
  const SteadyTime now = parts_.clock.steady();
  if (!storage_probe_at_ || now < *storage_probe_at_) {
    return;
  }
  storage_probe_at_.reset();
  if (auto works = probe_storage(); !works) {
    storage_in_trouble(works.error());
    return;
  }
  if (take_up_at_) {
    storage_probe_at_ = now + probe_pause;  // whether that works is seen then
  } else {
    parts_.health.clear(storage_condition);
  }
  perform_held();
}

Result<> RunController::probe_storage() {
  const auto space = disk_space(parts_.config.state_folder);
  const std::string lack = health::lack_of_room(probe_room, space ? space->free : probe_room, "anything",
                                                parts_.config.state_folder.string());
  if (!lack.empty()) {
    return fail(ErrorKind::resource, "{}", lack);
  }
  if (auto written = parts_.registry.set_meta("probe", iso8601(unix_ms(parts_.clock.wall()))); !written) {
    return written;
  }
  if (auto recorded = records_.retry(); !recorded) {
    return recorded;
  }
  auto read = parts_.publisher.retry();
  return read ? read : fail(read.error(), "reading a model for the devices");
}

// What was decided while it could not be recorded. A round that is taken up anew opens or closes by that.
void RunController::perform_held() {
  std::vector<rounds::Action> held = std::exchange(held_, {});
  if (take_up_at_) {
    std::erase_if(held, [](const rounds::Action& action) {
      return std::holds_alternative<rounds::OpenRound>(action) || std::holds_alternative<rounds::CloseRound>(action);
    });
  }
  const bool any = !held.empty();
  perform(held);
  if (active_ && records_.settled() && std::exchange(tasks_held_, false)) {
    send_open_tasks();
  }
  if (any && active_) {
    publish_status();
  }
  changed_();
}

}  // namespace flops::coordinator
