// What is wrong with this device, and what its clock was when that was right.
#include <limits>
#include <map>

#include "agent.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/health/storage_check.hpp"
#include "time_seen.hpp"

namespace flops::agent {
namespace {

constexpr std::chrono::seconds probe_pause{5};
// A write of a few bytes may find room in the write-ahead log when nothing else does.
constexpr std::uint64_t probe_room = std::uint64_t{1} << 20U;
constexpr std::int64_t remember_every = std::int64_t{6} * 3600;  // seconds: each time is a write to the card

}  // namespace

void Agent::raise(std::string_view name, std::string_view text) {
  if (health_.set(name, text, std::chrono::steady_clock::now())) {
    log::error("health", "{}: {}", name, text);
  }
  state_changed_soon();
}

void Agent::clear(std::string_view name) {
  if (health_.clear(name)) {
    log::info("health", "{}: all is well again", name);
    state_changed_soon();
  }
}

// Without it, or when it cannot be read, what is left are the certificates and when this program was written.
std::int64_t Agent::newest_time_seen() {
  time_remembered_ = stored_time_seen(storage_);
  return time_remembered_;
}

// A connection means that the broker's certificate and ours are valid by this clock.
void Agent::remember_time() {
  const std::int64_t now = unix_ms(SystemClock().wall()) / 1000;
  if (!link_ || !link_->up() || now < time_remembered_ + remember_every) {
    return;
  }
  if (auto stored = store_time_seen(storage_, now); stored) {
    time_remembered_ = now;
  } else {
    log::debug("health", "remembering the time: {}", stored.error().what);
  }
}

void Agent::on_link_failed(const Error& error) {
  if (error.kind == ErrorKind::clock) {
    raise(clock_condition, error.what);
  }
  renew_expired_certificate();
}

// A full disk or a busy file passes; a damaged database does not: the next start sets it aside.
bool Agent::storage_broken(const Error& error) {
  if (error.kind != ErrorKind::corrupt && error.kind != ErrorKind::bug) {
    return false;
  }
  raise(storage_condition, health::storage_trouble(error, config_.state_folder.string()));
  log::error("storage", "the database cannot be used any more: {}", error.what);
  failure_ = error;
  stop();
  return true;
}

// `again` (may be empty) is done when the storage works again, after what was postponed before.
void Agent::storage_failed(const Error& error, Postponed::Kind kind, Postponed::Step again, std::optional<TaskId> of) {
  if (storage_broken(error)) {
    return;
  }
  if (again) {
    postponed_.add(kind, std::move(again), std::move(of));
  }
  storage_in_trouble(error);
}

// Later it is looked at again what is held by then.
void Agent::arrival_failed(const Error& error, const wire::Task& task) {
  if (!storage_broken(error)) {
    postponed_.add_arrival(task.ref.task, [this, task] { on_task(task); });
    storage_in_trouble(error);
  }
}

// Training would only make more that cannot be kept: it pauses with a checkpoint in memory.
void Agent::storage_in_trouble(const Error& error) {
  storage_failed_again_ = true;
  raise(storage_condition, health::storage_trouble(error, config_.state_folder.string()));
  trainer_.suspend();
  probe_storage_later();
}

void Agent::probe_storage_later() {
  if (stopping_ || std::exchange(probing_storage_, true)) {
    return;
  }
  probe_timer_.expires_after(probe_pause);
  probe_timer_.async_wait([this](boost::system::error_code cancelled) {
    probing_storage_ = false;
    if (!cancelled && !stopping_) {
      probe_storage();
    }
  });
}

void Agent::probe_storage() {
  if (health_.find(storage_condition) != nullptr) {
    const auto space = disk_space(config_.state_folder);
    const std::string lack =
        health::lack_of_room(probe_room, space ? space->free : probe_room, "anything", config_.state_folder.string());
    auto written = lack.empty() ? storage_.put_meta("probe", iso8601(unix_ms(SystemClock().wall())))
                                : Result<>(fail(ErrorKind::resource, "{}", lack));
    if (!written) {
      storage_failed(written.error(), Postponed::Kind::own, {});
      return;
    }
    storage_failed_again_ = false;
    for (const Postponed::Step& step : postponed_.take()) {
      step();
    }
    if (storage_failed_again_ || stopping_) {
      return;
    }
    clear(storage_condition);
    if (postponed_.take_dropped()) {
      greet();  // the coordinator sends what is open
    }
    schedule_soon();
  }
  for (const auto& [id, task] : std::map(waiting_for_room_)) {
    on_task(task);
  }
  if (waiting_for_room_.empty()) {
    clear(room_condition);
  }
}

// What can be stored: on the disk and in the files there are. Unknown: as much as one likes.
std::uint64_t Agent::room() {
  const auto space = disk_space(config_.state_folder);
  return space ? space->free + storage_.reusable_bytes().value_or(0) : std::numeric_limits<std::uint64_t>::max();
}

// Said before the work begins, not in its midst. The task waits, without an answer, until there is room or it is
// cancelled.
bool Agent::has_room_for(const wire::Task& task) {
  auto layout = tensor::Layout::parse(task.layout_text);
  const std::uint64_t model = layout ? layout->bytes() : 0;
  // The device's control variate and the new one: together as large as the model that they travel with.
  const std::uint64_t variates = task.training.control_variates ? model : 0;
  // An exact sum is three times as large as its model.
  const std::uint64_t sum = task.codec == wire::sum_codec ? 2 * model : 0;
  const std::uint64_t needed = health::room_for_model(model) + variates + sum;
  const std::string lack = health::lack_of_room(needed, room(), "a task of this model", config_.state_folder.string());
  if (lack.empty()) {
    return true;
  }
  std::erase_if(waiting_for_room_, [&](const auto& other) { return other.second.ref.run == task.ref.run; });
  if (waiting_for_room_.size() < max_open_tasks) {
    waiting_for_room_.emplace(task.ref.task, task);
  }
  raise(room_condition, lack + "; it waits until there is room");
  probe_storage_later();
  return false;
}

void Agent::forget_arrival(const TaskId& task) {
  postponed_.forget_arrival(task);
  waiting_for_room_.erase(task);
}

}  // namespace flops::agent
