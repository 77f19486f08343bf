// The run machine's events and actions.
#include "engine.hpp"

#include <algorithm>
#include <utility>

namespace flops::sim {

using rounds::Phase;

Simulation::Engine::Engine(Project project, Population population, std::filesystem::path folder,
                           blob::FileStore downloads, int threads)
    : project_(std::move(project)),
      population_(std::move(population)),
      folder_(std::move(folder)),
      downloads_(std::move(downloads)),
      models_(folder_ / "models"),
      present_(population_.names()),
      pool_(threads) {
  state_.id = RunId::parse("run-1").value_or(RunId());  // as the first run of a coordinator
  state_.spec = project_.run;
  for (std::size_t thread = 0; thread < pool_.threads(); ++thread) {
    learnings_.emplace_back(population_, project_.run.model);
  }
}

Simulation::Engine::~Engine() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Result<Summary> Simulation::Engine::run(const OnRound& on_round, const Interrupted& interrupted) {
  on_round_ = &on_round;
  begun_ = SystemClock().steady();
  feed(rounds::DevicesAvailable{present_});
  while (!over_ && !error_ && !timeline_.empty()) {
    timeline_.step();
    if (interrupted && interrupted()) {
      feed(rounds::StopRequested{});
      state_.reason = "interrupted";
    }
  }
  if (error_) {
    return fail(*error_);
  }
  Summary summary;
  summary.state = rounds::to_string(state_.phase);
  summary.reason = state_.reason;
  summary.model = newest_;
  summary.parameters = parameters_;
  for (auto& [round, record] : records_) {
    summary.rounds.push_back(record);
  }
  summary.virtual_seconds = timeline_.seconds();
  summary.seconds = seconds();
  return summary;
}

void Simulation::Engine::feed(const rounds::Event& event) {
  if (over_ || error_) {
    return;
  }
  round_before_ = state_.round;
  for (const rounds::Action& action : rounds::on_event(state_, event, timeline_.now())) {
    if (!error_) {
      std::visit([this](const auto& value) { perform(value); }, action);
    }
  }
  plan_deadline();
}

void Simulation::Engine::plan_deadline() {
  const bool has_one =
      state_.phase == Phase::initialising || state_.phase == Phase::fitting || state_.phase == Phase::evaluating;
  if (!over_ && has_one && std::exchange(deadline_planned_, state_.deadline) != state_.deadline) {
    timeline_.at(state_.deadline, [this] { feed(rounds::Tick{}); });
  }
}

void Simulation::Engine::failed(const Error& error, std::string_view doing) {
  if (!error_) {
    error_ = error.within(doing);
  }
}

void Simulation::Engine::perform(const rounds::CancelTask& action) {
  if (open_.contains(action.task)) {
    ++record(std::max<std::int64_t>(round_before_, 1)).dropped;
    end(action.task);
  }
}

void Simulation::Engine::perform(const rounds::OpenRound& action) {
  auto sum = aggregation::RoundSum::open(models_, state_.model);
  if (!sum) {
    failed(sum.error(), fmt::format("opening round {}", action.round));
    return;
  }
  sum_ = *std::move(sum);
  for (const TaskId& task : std::exchange(stored_, {})) {
    timeline_.after(0, [this, task] { arrived(task); });
  }
}

void Simulation::Engine::perform(const rounds::CloseRound& action) {
  auto model = sum_->close(models_);
  if (!model) {
    failed(model.error(), fmt::format("closing round {}", action.round));
    return;
  }
  if (auto loaded = load_version(model->digest, state_.model); !loaded) {
    failed(loaded.error(), "reading the new model");
    return;
  }
  newest_ = model->digest;
  close_record(action.round, *model);
  const auto& central = record(action.round).central;
  const bool reached = project_.target_accuracy > 0 && central && central->accuracy >= project_.target_accuracy;
  timeline_.after(0, [this, digest = model->digest, reached] {
    if (reached) {
      feed(rounds::StopRequested{});
      state_.reason = "the target accuracy is reached";
    } else {
      feed(rounds::Aggregated{digest});
      drop_old_versions();
    }
  });
}

}  // namespace flops::sim
