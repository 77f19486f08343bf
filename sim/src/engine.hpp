// The shell around the run machine: virtual learners instead of devices, virtual time instead of a clock.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "flops/aggregation/round_sum.hpp"
#include "flops/blob/file_store.hpp"
#include "flops/rounds/run_machine.hpp"
#include "flops/sim/simulation.hpp"
#include "learning.hpp"
#include "pool.hpp"
#include "population.hpp"
#include "timeline.hpp"

namespace flops::sim {

class Simulation::Engine {
 public:
  Engine(Project project, Population population, std::filesystem::path folder, blob::FileStore downloads, int threads);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] Result<Summary> run(const OnRound& on_round, const Interrupted& interrupted);
  [[nodiscard]] Result<> copy_model(const std::filesystem::path& to) const;

 private:
  // A task under way: what its device will have computed, and when it is known.
  struct Open {
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

  void feed(const rounds::Event& event);
  void plan_deadline();
  void perform(const rounds::SendTask& action);
  void perform(const rounds::CancelTask& action);
  void perform(const rounds::OpenRound& action);
  void perform(const rounds::CloseRound& action);
  void perform(const rounds::EvaluationClosed&) {}
  void perform(const rounds::RunOver&) { over_ = true; }
  void perform(const rounds::HandUp&) {}
  void failed(const Error& error, std::string_view doing);

  // Learners (engine_learners.cpp).
  void initialise(const rounds::SendTask& action);
  [[nodiscard]] models::TrainingPlan plan_of(const rounds::SendTask& action, bool straggles) const;
  [[nodiscard]] double work_seconds(const rounds::SendTask& action, const models::TrainingPlan& plan) const;
  [[nodiscard]] double seconds_down(const rounds::SendTask& action, const Digest& base);
  [[nodiscard]] std::uint64_t download_bytes(const DeviceId& learner, const Digest& base);
  [[nodiscard]] std::uint64_t encoded_bytes(const Digest& model, const Digest& base);
  void vanish(const DeviceId& learner, double after);
  void computed(const TaskId& task);
  void measured(const Open& open, const Measurement& measurement);
  void arrived(const TaskId& task);
  void sum_up(const TaskId& task);
  void end(const TaskId& task);

  // Models (engine_models.cpp).
  [[nodiscard]] Result<> load_version(const Digest& model, const Digest& previous);
  void drop_old_versions();
  [[nodiscard]] Result<Measurement> measure(const Values& values);
  [[nodiscard]] RoundRecord& record(std::int64_t round);
  void close_record(std::int64_t round, const aggregation::NewModel& model);
  [[nodiscard]] double seconds() const;

  Project project_;
  Population population_;
  std::filesystem::path folder_;
  blob::FileStore downloads_;
  aggregation::ModelFolder models_;
  rounds::RunState state_;
  Timeline timeline_;
  SteadyTime deadline_planned_{};
  std::set<DeviceId> present_;
  std::unique_ptr<aggregation::RoundSum> sum_;
  std::map<TaskId, Open> open_;
  std::vector<TaskId> stored_;  // arrived while the sum was being closed
  std::map<Digest, Version> versions_;
  std::map<DeviceId, Digest> held_;  // the version a learner has, of those that matter
  std::map<std::int64_t, RoundRecord> records_;
  std::vector<models::Split> test_pieces_;
  Digest newest_;
  std::uint64_t parameters_ = 0;
  std::uint64_t updates_made_ = 0;
  std::int64_t round_before_ = 0;  // the event at work: a round that it closes is this one
  bool over_ = false;
  std::optional<Error> error_;
  const OnRound* on_round_ = nullptr;
  SteadyTime begun_{};
  std::vector<Learning> learnings_;  // one a thread
  Pool pool_;                        // last: its threads use the rest
};

}  // namespace flops::sim
