// From events to persisted states to actions.
#include "agent.hpp"

#include <algorithm>

#include <unistd.h>

#include <boost/asio/post.hpp>

#include "flops/core/log.hpp"
#include "memory.hpp"

namespace flops::agent {
namespace {

using std::chrono::seconds;

constexpr seconds attempt_pause{2};
constexpr seconds tidy_delay{2};

bool is_over(Phase phase) {
  return phase == Phase::absent || phase == Phase::finished;
}

// Said again by the coordinator, the link or the trainer, if need be.
bool comes_again(const Event& event) {
  return std::holds_alternative<event::Granted>(event) || std::holds_alternative<event::Receipted>(event) ||
         std::holds_alternative<event::Cancelled>(event) || std::holds_alternative<event::Connected>(event) ||
         std::holds_alternative<event::Checkpointed>(event) || std::holds_alternative<event::Arrived>(event);
}

// Whatever the task still has to record is of no use then.
bool ends_task(const Event& event) {
  return std::holds_alternative<event::Cancelled>(event) || std::holds_alternative<event::Superseded>(event);
}

bool has_new_result(Phase before, Phase after) {
  return after == Phase::offering && before != Phase::uploading;
}

}  // namespace

Agent::EntryPtr Agent::find(const TaskId& id) const {
  const auto entry = std::ranges::find_if(entries_, [&](const EntryPtr& candidate) { return candidate->id() == id; });
  return entry == entries_.end() ? nullptr : *entry;
}

std::vector<TaskId> Agent::task_ids() const {
  std::vector<TaskId> ids;
  std::ranges::transform(entries_, std::back_inserter(ids), [](const EntryPtr& entry) { return entry->id(); });
  return ids;
}

std::vector<const TaskState*> Agent::open_states() const {
  std::vector<const TaskState*> states;
  std::ranges::transform(entries_, std::back_inserter(states), [](const EntryPtr& entry) { return &entry->state; });
  return states;
}

std::vector<Digest> Agent::models_in_use() const {
  std::vector<Digest> models;
  for (const EntryPtr& entry : entries_) {
    models.push_back(entry->state.task.base);
    models.push_back(entry->state.task.base_blob_base);
    if (entry->state.continued) {
      models.push_back(entry->state.continued->parameters);
    }
  }
  return models;
}

void Agent::dispatch(const TaskId& id, const Event& event, const Persist& with) {
  const EntryPtr entry = find(id);
  if (!entry) {
    return;
  }
  const log::Field run("FLOPS_RUN", entry->state.task.ref.run.str());
  const log::Field round("FLOPS_ROUND", std::to_string(entry->state.task.ref.round));
  const auto kind = comes_again(event) ? Postponed::Kind::repeatable : Postponed::Kind::own;
  if (postponed_.holds(id) && !ends_task(event)) {  // what came before it is not recorded yet
    postponed_.add(kind, [this, id, event, with] { dispatch(id, event, with); }, id);
    return;
  }
  entry->last_exchange = std::chrono::steady_clock::now();
  const Phase before = entry->state.phase;
  Step step = on_event(entry->state, event);
  if (step.next != entry->state || with) {
    // What a power cut takes back is done again: the coordinator sends its open task to a device that says hello. But a
    // result that was offered must be there when it is asked for.
    const auto durability =
        has_new_result(before, step.next.phase) ? store::Durability::full : store::Durability::normal;
    auto saved = storage_.transaction([&] { return persist(entry->state, step, with); }, durability);
    if (!saved) {
      if (const auto* arrived = std::get_if<event::Arrived>(&event)) {
        arrival_failed(saved.error(), arrived->task);
      } else {
        storage_failed(saved.error(), kind, [this, id, event, with] { dispatch(id, event, with); }, id);
      }
      remove_ended();
      return;
    }
    if (step.next.phase != entry->state.phase) {
      log::debug("agent", "task {}: {} -> {}", id, to_string(entry->state.phase), to_string(step.next.phase));
    }
    if (step.next.attempts > entry->state.attempts) {
      entry->not_before = std::chrono::steady_clock::now() + attempt_pause * step.next.attempts;
    }
    entry->state = step.next;
  }
  for (const Action& action : step.actions) {
    carry_out(entry, action);
  }
  if (storage_.untidy()) {
    tidy_soon();
  }
  remove_ended();
  state_changed_soon();
  schedule_soon();
}

// Runs inside the transaction.
Result<> Agent::persist(const TaskState& before, const Step& step, const Persist& with) {
  if (auto done = with ? with() : Result<>(); !done) {
    return done;
  }
  if (auto put = storage_.put_task(step.next); !put) {
    return put;
  }
  for (const Action& action : step.actions) {
    if (std::holds_alternative<action::AdoptVariate>(action)) {
      if (auto adopted = adopt_variate(step.next.task.ref); !adopted) {
        return adopted;
      }
    }
    const bool forget = std::holds_alternative<action::Forget>(action);
    if (!forget && !std::holds_alternative<action::DropBlob>(action)) {
      continue;
    }
    // The blob that was fetched so far, and not the one a repeated task brings.
    if (auto dropped = drop_blob_of(is_over(before.phase) ? step.next : before); !dropped) {
      return dropped;
    }
    if (auto dropped = forget ? drop_contents_of(step.next.task.ref.task) : Result<>(); !dropped) {
      return dropped;
    }
  }
  return {};
}

Result<> Agent::drop_contents_of(const TaskId& id) {
  auto dropped = storage_.drop_update(id);
  dropped = dropped ? storage_.drop_checkpoint(id) : dropped;
  return dropped ? storage_.drop_variate(id) : dropped;
}

Result<> Agent::drop_blob_of(const TaskState& state) {
  if (!state.task.base_blob) {
    return {};
  }
  const bool shared = std::ranges::any_of(entries_, [&](const EntryPtr& other) {
    return other->id() != state.task.ref.task && other->state.task.base_blob == state.task.base_blob &&
           (other->state.phase == Phase::fetching || other->state.phase == Phase::assembling);
  });
  return shared ? Result<>() : storage_.drop_blob(state.task.base_blob->sha256);
}

void Agent::later(const TaskId& id, Event event) {
  boost::asio::post(loop_, [this, id, event = std::move(event)] { dispatch(id, event); });
}

void Agent::tidy_storage() {
  if (auto done = storage_.tidy(); !done) {
    storage_failed(done.error(), Postponed::Kind::own, {});  // what is left over only waits until the next time
  }
}

// An answer or a grant may be lost although the link is up, e.g. because the coordinator's disk was full.
void Agent::ask_again() {
  const auto silent_since = std::chrono::steady_clock::now() - config_.answer_timeout;
  const bool answers = link_->up() && coordinator_ && coordinator_->online;
  for (const EntryPtr& entry : std::vector(answers ? entries_ : std::vector<EntryPtr>())) {
    const bool waits = entry->state.phase == Phase::offering || entry->state.phase == Phase::uploading;
    if (waits && entry->last_exchange < silent_since) {
      log::info("agent", "task {}: no answer to its result; it is offered again", entry->id());
      dispatch(entry->id(), event::Connected{});
    }
  }
  answer_timer_.expires_after(config_.answer_timeout / 2);
  answer_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && !stopping_) {
      ask_again();
    }
  });
}

// A little later: syncing and copying the log takes a moment, and the next task may be on its way.
void Agent::tidy_soon() {
  if (std::exchange(tidy_pending_, true)) {
    return;
  }
  tidy_timer_.expires_after(tidy_delay);
  tidy_timer_.async_wait([this](boost::system::error_code cancelled) {
    tidy_pending_ = false;
    if (!cancelled && !stopping_) {
      tidy();
    }
  });
}

void Agent::tidy() {
  tidy_storage();
  if (entries_.empty()) {
    storage_.release_memory();
    give_back_memory();
  }
}

void Agent::carry_out(const EntryPtr& entry, const Action& action) {
  const TaskState& state = entry->state;
  const wire::TaskRef& ref = state.task.ref;
  if (const auto* ack = std::get_if<action::SendAck>(&action)) {
    say("ack", wire::Ack{ref, ack->status, ack->reason});
  } else if (std::holds_alternative<action::Fetch>(action)) {
    begin_fetch(*entry);
  } else if (std::holds_alternative<action::Assemble>(action)) {
    begin_assemble(entry);
  } else if (std::holds_alternative<action::Train>(action)) {
    begin_training(entry);
  } else if (std::holds_alternative<action::Keep>(action)) {
    keep_round(*entry);
  } else if (std::holds_alternative<action::Encode>(action)) {
    begin_encode(entry);
  } else if (std::holds_alternative<action::SendMetrics>(action)) {
    say("metrics", *state.metrics, [this, id = ref.task](const Result<>& outcome) {
      if (outcome && !stopping_) {
        dispatch(id, event::MetricsDelivered{});
      }
    });
  } else if (std::holds_alternative<action::SendResult>(action)) {
    if (!state.result->ok) {
      log::warn("agent", "task {} failed: {}", ref.task, state.result->reason);
    } else {
      log::info("agent", "task {} of run {}, round {}: the result is offered ({} bytes)", ref.task, ref.run, ref.round,
                state.result->update.size);
    }
    say("result", *state.result);
  } else if (const auto* send = std::get_if<action::SendChunks>(&action)) {
    uploader_.grant(ref.task, state.result->update.sha256, send->ranges);
  } else if (std::holds_alternative<action::StopWork>(action)) {
    stop_work(*entry);
  }
  // DropBlob, AdoptVariate and Forget were part of the transaction.
}

void Agent::stop_work(Entry& entry) {
  fetcher_.stop(entry.id());
  uploader_.stop(entry.id());
  // The trainer has one job at a time, and this was its task if it started one and did not end it.
  if (entry.work->result && trainer_.busy()) {
    trainer_.cancel();
  }
  entry.work->abandoned = true;
  entry.work = std::make_shared<Work>();
}

void Agent::remove_ended() {
  if (std::erase_if(entries_, [](const EntryPtr& entry) { return is_over(entry->state.phase); }) > 0) {
    const std::uint64_t written = store::bytes_written();
    written_last_task_ = written - std::exchange(written_before_, written);
    log::debug("storage", "{} bytes were written to the disk since the task before ended", written_last_task_);
    tidy_soon();
  }
}

void Agent::schedule_soon() {
  if (!std::exchange(schedule_pending_, true)) {
    boost::asio::post(loop_, [this] {
      schedule_pending_ = false;
      schedule();
    });
  }
}

bool Agent::has_task_in(std::initializer_list<Phase> phases) const {
  return std::ranges::any_of(
      entries_, [&](const EntryPtr& entry) { return std::ranges::find(phases, entry->state.phase) != phases.end(); });
}

// Only while there is something to train: an idle agent sleeps. An uplink trains nothing itself.
void Agent::watch_conditions() {
  if (config_.is_uplink()) {
    return;
  }
  if (!has_task_in({Phase::ready, Phase::running})) {
    governor_.stop();
    return;
  }
  governor_.start([this] {
    std::vector<int> own = {::getpid()};
    if (const auto worker = trainer_.worker_pid()) {
      own.push_back(*worker);
    }
    return own;
  });
  state_changed_soon();
}

void Agent::conditions_changed(const Verdict& verdict) {
  state_changed_soon();
  if (verdict.run()) {
    schedule_soon();
    return;
  }
  if (verdict.cause == Cause::memory && !std::exchange(freeing_trainer_, true)) {
    // A worker that only waits still holds LibTorch and the data.
    trainer_.stop([this] {
      freeing_trainer_ = false;
      schedule_soon();
    });
  } else {
    trainer_.suspend();
  }
}

bool Agent::may_train() const {
  return governor_.verdict().run() && !freeing_trainer_ && health_.find(storage_condition) == nullptr;
}

// One task at a time has the trainer; the one that came first is first.
void Agent::schedule() {
  if (stopping_) {
    return;
  }
  watch_conditions();
  const bool occupied = trainer_.busy() || checking_base_ || has_task_in({Phase::running, Phase::encoding});
  if (occupied || !may_train()) {
    return;
  }
  std::optional<std::chrono::steady_clock::time_point> earliest;
  for (const EntryPtr& entry : entries_) {
    if (entry->state.phase != Phase::ready || must_wait(open_states(), entry->state)) {
      continue;
    }
    if (entry->not_before <= std::chrono::steady_clock::now()) {
      dispatch(entry->id(), event::Chosen{offline_rounds(entry->state)});
      return;
    }
    earliest = std::min(earliest.value_or(entry->not_before), entry->not_before);
  }
  if (earliest) {
    schedule_timer_.expires_at(*earliest);
    schedule_timer_.async_wait([this](boost::system::error_code cancelled) {
      if (!cancelled) {
        schedule();
      }
    });
  }
}

}  // namespace flops::agent
