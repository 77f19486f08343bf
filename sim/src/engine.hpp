// The shell around the run machines: virtual learners instead of devices, virtual time instead of a clock.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "flops/aggregation/round_sum.hpp"
#include "flops/algorithms/algorithm.hpp"
#include "flops/blob/file_store.hpp"
#include "flops/rounds/tree.hpp"
#include "flops/sim/simulation.hpp"
#include "learning.hpp"
#include "pool.hpp"
#include "population.hpp"
#include "timeline.hpp"

namespace flops::sim {

using rounds::ClusterId;

// What the levels of the run make of their sums.
struct Algorithms {
  std::unique_ptr<algorithms::Algorithm> devices;   // of the rounds that devices train in
  std::unique_ptr<algorithms::Algorithm> clusters;  // of the cycles over clusters
  std::unique_ptr<algorithms::Algorithm> weighing;  // of the updates of devices

  [[nodiscard]] static Result<Algorithms> of(const rounds::RunSpec& spec);
};

class Simulation::Engine {
 public:
  Engine(Project project, Population population, Algorithms algorithms, std::filesystem::path folder,
         blob::FileStore downloads, int threads);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] Result<Summary> run(const OnRound& on_round, const Interrupted& interrupted);
  [[nodiscard]] Result<> copy_model(const std::filesystem::path& to) const;

 private:
  // A task under way: what its device will have computed, and when it is known.
  struct Open {
    ClusterId node;
    rounds::SendTask task;
    Digest base;
    std::filesystem::path update;
    std::shared_ptr<std::atomic<bool>> cancelled;
    std::future<Result<LearningResult>> computed;
    LearningResult result;
  };
  struct Version {
    Values values;
    Digest previous;
    std::optional<std::uint64_t> complete_bytes;  // encoded, when somebody needed it
    std::optional<std::uint64_t> delta_bytes;
  };
  // What one machine of the tree adds up.
  struct Node {
    std::unique_ptr<aggregation::RoundSum> sum;
    std::vector<TaskId> stored;  // arrived while the sum was being closed
    algorithms::Totals totals;   // of the last sum that was closed
    SteadyTime deadline_planned{};
  };

  void feed(const ClusterId& node, const rounds::Event& event);
  void presence_changed();
  void carry_out(const std::vector<rounds::NodeAction>& actions);
  void plan_deadlines();
  void perform(const ClusterId& node, const rounds::SendTask& action);
  void perform(const ClusterId& node, const rounds::CancelTask& action);
  void perform(const ClusterId& node, const rounds::OpenRound& action);
  void perform(const ClusterId& node, const rounds::CloseRound& action);
  void perform(const ClusterId& node, const rounds::HandUp& action);
  void perform(const ClusterId&, const rounds::EvaluationClosed&) {}
  void perform(const ClusterId&, const rounds::RunOver&) { over_ = true; }
  [[nodiscard]] Result<> hand_up(const ClusterId& node);
  [[nodiscard]] Result<std::uint64_t> bytes_handed_up(const ClusterId& node);
  void failed(const Error& error, std::string_view doing);

  // Learners (engine_learners.cpp).
  void initialise(const ClusterId& node, const rounds::SendTask& action);
  [[nodiscard]] models::TrainingPlan plan_of(const rounds::SendTask& action, bool straggles) const;
  [[nodiscard]] double work_seconds(const rounds::SendTask& action, const models::TrainingPlan& plan) const;
  [[nodiscard]] double seconds_down(const ClusterId& node, const rounds::SendTask& action, const Digest& base);
  [[nodiscard]] std::uint64_t download_bytes(const DeviceId& learner, const Digest& base);
  [[nodiscard]] std::uint64_t encoded_bytes(const Digest& model, const Digest& base);
  void vanish(const DeviceId& learner, double after);
  void computed(const TaskId& task);
  void measured(const Open& open, const Measurement& measurement);
  void arrived(const TaskId& task);
  void sum_up(const TaskId& task);
  void end(const TaskId& task);

  // Models (engine_models.cpp).
  [[nodiscard]] Result<aggregation::NewModel> close(const ClusterId& node);
  [[nodiscard]] Result<> load_version(const Digest& model, const Digest& previous);
  void drop_old_versions();
  [[nodiscard]] Result<Measurement> measure(const Values& values);
  [[nodiscard]] RoundRecord& record(const ClusterId& node, std::int64_t round);
  void close_record(const ClusterId& node, std::int64_t round, const aggregation::NewModel& model);
  [[nodiscard]] double seconds() const;

  Project project_;
  Population population_;
  Algorithms algorithms_;
  std::filesystem::path folder_;
  blob::FileStore downloads_;
  aggregation::ModelFolder models_;
  rounds::Tree tree_;
  std::map<ClusterId, Node> nodes_;
  std::map<ClusterId, Digest> states_;  // of the algorithms, from round to round
  std::map<ClusterId, std::size_t> members_;
  std::vector<ClusterId> handing_up_;  // while the top's sum is being closed
  Timeline timeline_;
  std::set<DeviceId> present_;
  std::map<TaskId, Open> open_;
  std::set<Digest> closing_;  // made, and not yet said to their machines
  std::map<Digest, Version> versions_;
  std::map<DeviceId, Values> variates_;  // SCAFFOLD's, of learners whose updates counted
  std::map<DeviceId, Digest> held_;      // the version a learner has, of those that matter
  std::map<std::pair<ClusterId, std::int64_t>, RoundRecord> records_;
  std::vector<models::Split> test_pieces_;
  Digest newest_;  // of the top
  std::uint64_t parameters_ = 0;
  std::uint64_t updates_made_ = 0;
  std::map<ClusterId, std::int64_t> round_before_;  // the event at work: a round that it closes is this one
  bool over_ = false;
  std::optional<Error> error_;
  const OnRound* on_round_ = nullptr;
  SteadyTime begun_{};
  std::vector<Learning> learnings_;  // one a thread
  Pool pool_;                        // last: its threads use the rest
};

}  // namespace flops::sim
