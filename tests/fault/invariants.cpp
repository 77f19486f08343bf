#include "invariants.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <tuple>

#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "ledger.hpp"

namespace flops::faults {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_update_bytes = 64U << 20U;

std::optional<CoordinatorLedger> coordinator_ledger(Stage& stage, const Fleet& fleet) {
  auto ledger = read_coordinator(fleet.coordinator_state() / "coordinator.db", stage.folder / "scratch");
  if (!ledger) {
    stage.problem(ledger.error().what);
    return std::nullopt;
  }
  return *std::move(ledger);
}

std::optional<AgentLedger> agent_ledger(Stage& stage, const Fleet& fleet, int device) {
  const fs::path database = fleet.state_of(device) / "agent.db";
  if (!fs::exists(database) || !fs::exists(fleet.state_of(device) / "contents.db")) {
    return std::nullopt;  // never started
  }
  auto ledger = read_agent(database, stage.folder / "scratch");
  if (!ledger) {
    stage.problem(fmt::format("{}: {}", Fleet::device_name(device), ledger.error().what));
    return std::nullopt;
  }
  return *std::move(ledger);
}

void check_stored_update(Stage& stage, const Fleet& fleet, const Contribution& row) {
  const fs::path file = fleet.coordinator_state() / "updates" / "objects" / row.blob.substr(0, 2) / row.blob;
  auto content = read_file(file, max_update_bytes);
  if (!content) {
    stage.problem(fmt::format("the contribution of {} to round {} counts, but its update is not on the disk: {}",
                              row.device, row.round, content.error().what));
  } else if (crypto::sha256(*content).hex() != row.blob) {
    stage.problem(fmt::format("the stored update of {} in round {} is damaged", row.device, row.round));
  }
}

// What a device was told about its tasks, from its log: these do not count.
std::set<std::string> ended_otherwise(Stage& stage, int device) {
  std::set<std::string> tasks;
  std::ifstream log(stage.log_of(Fleet::device_name(device)));
  for (std::string line; std::getline(log, line);) {
    const bool other = line.contains(" is cancelled: ") || line.contains(" is replaced by ") ||
                       line.contains(": the update was rejected: ") || line.contains(" failed: ");
    const std::size_t at = line.find("task ");
    if (other && at != std::string::npos) {
      std::istringstream words(line.substr(at + 5));
      std::string id;
      words >> id;
      tasks.insert(id.substr(0, id.find(':')));
    }
  }
  return tasks;
}

bool is_train(const std::string& task) {
  return task.contains(".r");
}

// Participants of a cycle are clusters.
void check_round(Stage& stage, const Fleet& fleet, const RoundRecord& round,
                 const std::set<std::string>& participants) {
  const std::string name = fmt::format("{} round {}{}{}", round.run, round.round,
                                       round.cluster.empty() ? "" : " of cluster ", round.cluster);
  if (round.state != "done") {
    stage.problem(fmt::format("{} is '{}' after the end", name, round.state));
  }
  const Setup& setup = fleet.setup();
  const bool everybody = fleet.gone.empty() && fleet.plan.absent.empty();
  const int all = setup.clusters == 0     ? setup.devices
                  : round.cluster.empty() ? setup.clusters
                                          : setup.devices / setup.clusters;
  const auto wanted = static_cast<std::size_t>(everybody ? all : setup.min_fit);
  if (participants.size() < wanted || (everybody && participants.size() != wanted)) {
    stage.problem(fmt::format("{} has {} contributions ({}), expected {}", name, participants.size(),
                              fmt::join(participants, ", "), wanted));
  }
}

void check_models(Stage& stage, const CoordinatorLedger& ledger, const std::string& run,
                  const std::vector<std::string>& reference) {
  std::vector<std::string> models;
  for (const RoundRecord& round : ledger.rounds) {
    if (round.run == run) {
      models.push_back(round.model);
    }
  }
  stage.outcome.models = models;
  for (std::size_t i = 0; i < std::max(models.size(), reference.size()) && !reference.empty(); ++i) {
    const std::string ours = i < models.size() ? models[i] : "missing";
    const std::string undisturbed = i < reference.size() ? reference[i] : "none";
    if (ours != undisturbed) {
      stage.problem(fmt::format("{} round {}: model {}, undisturbed {}", run, i + 1, ours.substr(0, 12),
                                undisturbed.substr(0, 12)));
      return;  // those after it follow from it
    }
  }
}

void check_agent(Stage& stage, const Fleet& fleet, int device, const std::set<std::string>& counted) {
  const auto ledger = agent_ledger(stage, fleet, device);
  if (!ledger) {
    return;
  }
  const std::string name = Fleet::device_name(device);
  std::string set_aside;
  for (const auto& entry : fs::directory_iterator(fleet.state_of(device))) {
    if (entry.path().filename().string().contains(".damaged-")) {
      set_aside = entry.path().filename().string();
    }
  }
  if (set_aside.empty() == fleet.damaged.contains(device)) {
    stage.problem(fmt::format("{}: a database was set aside: {}", name, set_aside.empty() ? "none" : set_aside));
  }
  if (fleet.gone.contains(device)) {
    return;
  }
  for (const AgentTask& task : ledger->tasks) {
    stage.problem(fmt::format("{}: task {} is still {} after the end", name, task.id, task.phase));
  }
  const std::set<std::string> otherwise = ended_otherwise(stage, device);
  for (const std::string& task : ledger->finished) {
    if (is_train(task) && !counted.contains(task) && !otherwise.contains(task)) {
      stage.problem(fmt::format("{}: task {} was finished and accepted, but does not count", name, task));
    }
  }
}

// Unfinished files of a killed coordinator do not pile up: the next one removes them.
void check_model_folder(Stage& stage, const Fleet& fleet) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fleet.coordinator_state() / "models", error)) {
    if (entry.path().extension() != ".safetensors") {
      stage.problem(fmt::format("left in the models' folder: {}", entry.path().filename().string()));
    }
  }
}

}  // namespace

void check_dead_coordinator(Stage& stage, const Fleet& fleet) {
  const auto ledger = coordinator_ledger(stage, fleet);
  if (!ledger) {
    return;
  }
  for (const RoundRecord& round : ledger->rounds) {
    const bool open = round.run == fleet.run() && (round.state == "fitting" || round.state == "aggregating");
    // With one round a cycle, what clusters handed up are the sums of these.
    const bool sums_are_up = fleet.setup().clusters > 0 && fleet.setup().rounds == 1 && round.cluster.empty();
    for (const Contribution& row : ledger->contributions) {
      const bool in_it = row.cluster == round.cluster || sums_are_up;
      if (open && in_it && row.run == round.run && row.round == round.round) {
        check_stored_update(stage, fleet, row);
      }
    }
  }
}

void check_dead_agent(Stage& stage, const Fleet& fleet, int device) {
  const auto ledger = agent_ledger(stage, fleet, device);
  for (const AgentTask& task : ledger ? ledger->tasks : std::vector<AgentTask>()) {
    const bool said = task.phase == "offering" || task.phase == "uploading";
    if (said != task.has_result) {
      stage.problem(fmt::format("{}: task {} is {} {} a result", Fleet::device_name(device), task.id, task.phase,
                                task.has_result ? "with" : "without"));
    }
  }
}

void check_ledgers(Stage& stage, const Fleet& fleet, const std::vector<std::string>& reference) {
  const auto ledger = coordinator_ledger(stage, fleet);
  if (!ledger) {
    return;
  }
  std::set<std::string> counted;
  std::map<std::tuple<std::string, std::string, std::int64_t>, std::set<std::string>> participants;
  for (const Contribution& row : ledger->contributions) {
    const bool twice =
        !counted.insert(row.task).second || !participants[{row.run, row.cluster, row.round}].insert(row.device).second;
    if (twice || !row.task.starts_with(fmt::format("{}.r{}.", row.run, row.round))) {
      stage.problem(fmt::format("the ledger counts task {} of {} for {} round {}{}", row.task, row.device, row.run,
                                row.round, twice ? " twice" : ""));
    }
  }
  for (const HandedUp& row : ledger->handed_up) {
    participants[{row.run, "", row.cycle}].insert(row.cluster);
  }
  for (const RoundRecord& round : ledger->rounds) {
    check_round(stage, fleet, round, participants[{round.run, round.cluster, round.round}]);
  }
  for (int run = 1; run <= fleet.runs_started(); ++run) {
    check_models(stage, *ledger, fmt::format("run-{}", run), reference);
  }
  for (int device = 1; device <= fleet.setup().devices; ++device) {
    check_agent(stage, fleet, device, counted);
  }
  check_model_folder(stage, fleet);
}

}  // namespace flops::faults
