// Parts of another coordinator's run: each is a run of its own, whose result stays until it is fetched and forgotten.
#include <system_error>

#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

Result<RunId> RunController::start(const rounds::PartRequest& request, const std::optional<tensor::Layout>& layout) {
  auto id = layout ? parts_.registry.add_part(request, layout->canonical(), layout->parameters())
                   : parts_.registry.add_part(request, "", 0);
  if (!id) {
    return fail(id.error(), "recording the part");
  }
  log::info("runs", "{}: part {} ({}): {} on '{}', {} rounds from {} on", *id, request.key,
            rounds::to_string(request.kind), request.spec.model, request.spec.data, request.spec.rounds,
            request.first_round);
  next_run();
  changed_();
  return *id;
}

std::filesystem::path RunController::sum_file(const RunId& run) const {
  return parts_.config.state_folder / "sums" / run.str();
}

Result<bool> RunController::wants_sum(const RunId& run, const std::string& origin) {
  const auto key = TaskId::parse(origin);
  if (!key) {
    return false;
  }
  auto asked = parts_.registry.asked_parts(*key);
  if (!asked) {
    return fail(asked.error());
  }
  return !asked->empty() && asked->front().run == run && asked->front().sum;
}

// A part waits only for devices, or sites, that are known to have the data and were connected before the coordinator's
// restart.
SteadyTime RunController::devices_there_by(const rounds::RunState& part) const {
  const std::size_t known = parts_.fleet.able(part.spec, active_->role()).size();
  const bool may_be_enough =
      part.part == rounds::Part::initialise ? known > 0 : std::cmp_greater_equal(known, part.spec.min_fit);
  return may_be_enough ? started_ + return_within() : started_;
}

Result<> RunController::forget(const registry::AskedPart& part) {
  if (auto stopped = stop(part.run); !stopped) {
    return stopped;
  }
  if (auto forgotten = parts_.registry.forget_part(part.run); !forgotten) {
    return fail(forgotten.error(), "recording that the part is forgotten");
  }
  log::info("runs", "{}: part {} is forgotten", part.run, part.key);
  forgotten_sweep_due_ = true;
  sweep_forgotten();
  return {};
}

// Not while a round is being closed: that may be one of a part that was stopped, and its files are still to come.
void RunController::sweep_forgotten() {
  if (!forgotten_sweep_due_ || closing_ > 0 || next_due_ || !records_.settled()) {
    return;
  }
  auto forgotten = parts_.registry.forgotten_parts();
  if (!forgotten) {
    return;
  }
  forgotten_sweep_due_ = false;
  for (const RunId& run : *forgotten) {
    if (auto removed = remove_results(run); !removed) {
      log::warn("runs", "{}", removed.error().within(fmt::format("removing the results of {}", run)).what);
    }
  }
}

Result<> RunController::remove_results(const RunId& forgotten) {
  auto models = parts_.registry.models_to_remove(forgotten);
  if (!models) {
    return fail(models.error());
  }
  std::vector<std::filesystem::path> files{sum_file(forgotten)};
  for (const Digest& model : *models) {
    files.push_back(parts_.models.path_of(model));
  }
  for (const std::filesystem::path& file : files) {
    std::error_code error;
    std::filesystem::remove(file, error);
    if (error) {
      return fail(errno_error(error.value(), file.string()));
    }
  }
  // One retained status a cycle would be too many in time.
  parts_.link.publish(parts_.link.topics().run_status(forgotten), "", {.qos = 1, .retain = true});
  return parts_.registry.remove_part(forgotten, *models);
}

// A round's model that came when nobody wanted it any more.
void RunController::remove_unrecorded(const Digest& model) {
  if (auto needed = parts_.registry.needs_model(model); needed && !*needed && closing_ == 0) {
    std::error_code ignored;  // it only takes room
    std::filesystem::remove(parts_.models.path_of(model), ignored);
  }
}

}  // namespace flops::coordinator
