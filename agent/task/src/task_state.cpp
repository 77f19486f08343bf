#include "flops/agent_task/task_state.hpp"

#include <array>
#include <utility>

namespace flops::agent {
namespace {

constexpr std::array<std::pair<Phase, std::string_view>, 9> names = {{
    {Phase::absent, "absent"},
    {Phase::fetching, "fetching"},
    {Phase::assembling, "assembling"},
    {Phase::ready, "ready"},
    {Phase::running, "running"},
    {Phase::encoding, "encoding"},
    {Phase::offering, "offering"},
    {Phase::uploading, "uploading"},
    {Phase::finished, "finished"},
}};

}  // namespace

std::string_view to_string(Phase phase) {
  for (const auto& [value, name] : names) {
    if (value == phase) {
      return name;
    }
  }
  return "absent";
}

Result<Phase> parse_phase(std::string_view text) {
  for (const auto& [value, name] : names) {
    if (name == text) {
      return value;
    }
  }
  return fail(ErrorKind::corrupt, "'{}' is not a phase of a task", text);
}

std::string_view activity(Phase phase, wire::TaskKind kind) {
  switch (phase) {
    case Phase::absent:
    case Phase::finished: return "idle";
    case Phase::fetching:
    case Phase::assembling: return "fetching";
    case Phase::ready:
    case Phase::running:
    case Phase::encoding: return kind == wire::TaskKind::evaluate ? "evaluating" : "training";
    case Phase::offering:
    case Phase::uploading: return "uploading";
  }
  return "idle";
}

std::optional<std::string> broken_invariant(const TaskState& state) {
  const bool said = state.phase == Phase::offering || state.phase == Phase::uploading;
  if (state.phase != Phase::finished && state.phase != Phase::absent && said != state.result.has_value()) {
    return fmt::format("{}: a result belongs to offering and uploading, and only there", to_string(state.phase));
  }
  if (state.phase == Phase::uploading && state.result->update.size == 0) {
    return "uploading without an update";
  }
  if ((state.phase == Phase::fetching || state.phase == Phase::assembling) && !state.task.base_blob) {
    return fmt::format("{} without a blob to fetch", to_string(state.phase));
  }
  if (state.phase != Phase::absent && state.task.ref.task.empty()) {
    return "a task without an id";
  }
  if (state.metrics_delivered && !state.metrics) {
    return "metrics delivered that are not there";
  }
  if (state.attempts < 0 || state.attempts > max_attempts || state.interruptions < 0 ||
      state.interruptions > max_interruptions) {
    return "more attempts or interruptions than allowed";
  }
  if (const auto& continued = state.continued) {
    if (continued->rounds < 1 || continued->rounds > max_local_rounds) {
      return fmt::format("{} local rounds", continued->rounds);
    }
    if (state.task.kind != wire::TaskKind::train) {
      return "training that went on in a task that is none";
    }
    if (continued->ends && state.phase != Phase::encoding) {
      return fmt::format("{}: the update is made in encoding only", to_string(state.phase));
    }
  }
  return std::nullopt;
}

}  // namespace flops::agent
