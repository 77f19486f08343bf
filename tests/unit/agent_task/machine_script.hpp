// Short words for the events and actions of the task machine, so that tests read as tables.
#pragma once

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/agent_task/task_machine.hpp"

namespace flops::agent::script {

inline Digest digest(std::uint8_t fill) {
  std::array<std::uint8_t, Digest::size> bytes{};
  bytes.fill(fill);
  return Digest(bytes);
}

inline constexpr std::uint64_t update_size = 3 * blob::chunk_size + 5;  // 4 chunks
inline const Digest base = digest(1);
inline const Digest blob_name = digest(2);
inline const Digest older_base = digest(3);
inline const Digest update = digest(4);
inline const Digest other_update = digest(5);
inline const Digest kept = digest(6);  // parameters of a local round

inline wire::Task make_task(wire::TaskKind kind = wire::TaskKind::train, const char* id = "t1",
                            std::int64_t round = 1) {
  wire::Task task;
  task.ref = {*TaskId::parse(id), *RunId::parse("run-1"), 0, round};
  task.kind = kind;
  task.model = "softmax";
  if (kind != wire::TaskKind::init) {
    task.data = "mnist";
    task.base = base;
    task.base_blob = wire::BlobRef{blob_name, 1000};
  }
  return task;
}

inline wire::Task delta_task() {
  wire::Task task = make_task();
  task.base_blob_base = older_base;
  return task;
}

inline event::Arrived arrived(const wire::Task& task, bool holds_base = false) {
  return {task, holds_base, true, {}};
}
inline event::Trained trained(std::uint64_t weight = 600, double loss = 0.5, int offline_rounds = 0) {
  return {Outcome{weight, loss, 1.5, digest(9), {}, 10}, offline_rounds, kept};
}
inline event::Encoded encoded(const Digest& blob = update) {
  return {wire::BlobRef{blob, update_size}, trained().outcome};
}
inline event::Evaluated evaluated(double loss = 2.3) {
  return {wire::Metrics{make_task().ref, base, 100, loss, 0.1, 0.2}};
}
inline event::Granted granted(blob::ChunkRanges ranges, const Digest& blob = update) {
  return {wire::Grant{make_task().ref, blob, std::move(ranges)}};
}
inline event::Receipted receipted(wire::ReceiptStatus status, const Digest& blob = update) {
  return {wire::Receipt{make_task().ref, blob, status, {}}};
}
inline Error error(ErrorKind kind) {
  return Error{kind, "told so"};
}

struct ActionName {
  std::string operator()(const action::SendAck& ack) const { return "ack " + std::string(wire::to_string(ack.status)); }
  std::string operator()(const action::Fetch&) const { return "fetch"; }
  std::string operator()(const action::Assemble&) const { return "assemble"; }
  std::string operator()(const action::Train&) const { return "train"; }
  std::string operator()(const action::Keep&) const { return "keep"; }
  std::string operator()(const action::Encode&) const { return "encode"; }
  std::string operator()(const action::SendMetrics&) const { return "metrics"; }
  std::string operator()(const action::SendResult&) const { return "result"; }
  std::string operator()(const action::SendChunks& send) const {
    std::string text = "chunks";
    for (const auto& [first, last] : send.ranges) {
      text += fmt::format(" {}-{}", first, last);
    }
    return text;
  }
  std::string operator()(const action::StopWork&) const { return "stop"; }
  std::string operator()(const action::DropBlob&) const { return "drop blob"; }
  std::string operator()(const action::AdoptVariate&) const { return "adopt"; }
  std::string operator()(const action::Forget&) const { return "forget"; }
};

inline std::string names(const std::vector<Action>& actions) {
  std::string text;
  for (const Action& action : actions) {
    text += (text.empty() ? "" : ", ") + std::visit(ActionName{}, action);
  }
  return text;
}

// The state after these events.
inline TaskState after(const std::vector<Event>& events) {
  TaskState state;
  for (const Event& event : events) {
    state = on_event(state, event).next;
  }
  return state;
}

using Events = std::vector<Event>;
inline Events operator+(Events a, const Events& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A step of the machine: from the state after `before`, by `event`.
struct Row {
  const char* name;
  Events before;
  Event event;
  Phase phase;
  const char* actions;
};

inline void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const Step step = on_event(after(row.before), row.event);
      CHECK(to_string(step.next.phase) == to_string(row.phase));
      CHECK(names(step.actions) == row.actions);
      CHECK(broken_invariant(step.next).value_or("") == "");
    }
  }
}

}  // namespace flops::agent::script
