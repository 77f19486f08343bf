#include "api_json.hpp"

#include <cmath>

#include "best_round.hpp"

namespace flops::coordinator {

namespace json = boost::json;

namespace {

json::value number_or_null(const std::optional<double>& number) {
  return number && std::isfinite(*number) ? json::value(*number) : json::value(nullptr);
}

json::value time_or_null(std::int64_t ms) {
  return ms > 0 ? json::value(iso8601(ms)) : json::value(nullptr);
}

json::value digest_or_null(const Digest& digest) {
  return digest.empty() ? json::value(nullptr) : json::value(digest.hex());
}

json::array health_json(const std::vector<wire::Condition>& health) {
  json::array out;
  for (const wire::Condition& condition : health) {
    out.emplace_back(json::object{{"name", condition.name}, {"text", condition.text}});
  }
  return out;
}

json::object map_json(const std::map<std::string, std::string>& map) {
  json::object out;
  for (const auto& [key, value] : map) {
    out[key] = value;
  }
  return out;
}

// What is wanted, and what the device says of it.
json::object configuration_json(const Device& device) {
  const wire::Configuration& wanted = device.row.wanted;
  return {{"version", wanted.version},
          {"labels", map_json(wanted.labels)},
          {"settings", map_json(wanted.settings)},
          {"reported_version", device.state.configuration},
          {"problem", device.state.configuration_problem}};
}

}  // namespace

json::object device_json(const Device& device) {
  json::object labels;
  json::array datasets;
  json::object out{{"id", device.row.id.str()},
                   {"role", wire::to_string(device.row.role)},
                   {"state", registry::to_string(device.row.standing)},
                   {"reason", device.row.reason},
                   {"online", device.state.online},
                   {"last_seen", time_or_null(device.row.last_seen)},
                   {"enrolled_at", time_or_null(device.row.enrolled_at)},
                   {"certificate_not_after", time_or_null(device.row.certificate_not_after * 1000)},
                   {"activity", device.state.activity},
                   {"task", device.state.task},
                   {"paused", device.state.paused},
                   {"health", health_json(device.state.health)},
                   {"load", device.state.load},
                   {"temperature", device.state.temperature},
                   {"battery_percent", device.state.battery_percent},
                   {"written_bytes", device.state.written_bytes},
                   {"written_last_task", device.state.written_last_task},
                   {"undervoltage", device.state.undervoltage},
                   {"configuration", configuration_json(device)}};
  if (const auto& hello = device.row.hello) {
    for (const auto& [key, value] : hello->labels) {
      labels[key] = value;
    }
    const bool gets_work = hello->role == device.row.role;
    for (const wire::Dataset& dataset : gets_work ? hello->datasets : std::vector<wire::Dataset>()) {
      datasets.emplace_back(json::object{
          {"tag", dataset.tag}, {"train_samples", dataset.train_samples}, {"test_samples", dataset.test_samples}});
    }
    out["agent_version"] = hello->agent_version;
    out["architecture"] = hello->architecture;
    out["cores"] = hello->cores;
    out["memory_bytes"] = hello->memory_bytes;
    out["storage_bytes"] = hello->storage_bytes;
    out["machine"] = hello->machine;
    out["system"] = hello->system;
    out["accelerator"] = hello->accelerator;
  }
  out["labels"] = std::move(labels);
  out["datasets"] = std::move(datasets);
  return out;
}

json::object round_json(const registry::RoundRow& round) {
  return {{"round", round.round},
          {"state", round.state},
          {"accuracy", number_or_null(round.accuracy)},
          {"loss", number_or_null(round.loss)},
          {"accuracy_min", number_or_null(round.accuracy_min)},
          {"accuracy_max", number_or_null(round.accuracy_max)},
          {"evaluated_samples", round.evaluated_samples},
          {"evaluated_devices", round.evaluated_devices},
          {"participants", round.participants},
          {"late", round.late},
          {"local_rounds", round.local_rounds},
          {"dropped", round.dropped},
          {"rejected", round.rejected},
          {"bytes_up", round.bytes_up},
          {"bytes_down", round.bytes_down},
          {"seconds", round.seconds},
          {"train_seconds_max", round.train_seconds_max},
          {"train_loss", number_or_null(round.train_loss)},
          {"model_digest", digest_or_null(round.model)}};
}

json::value best_json(const registry::RunRow& run, const std::vector<registry::RoundRow>& rounds) {
  const std::string& metric = run.state.spec.best_by;
  const registry::RoundRow* best = best_round(rounds, metric);
  if (best == nullptr) {
    return nullptr;
  }
  return json::object{{"metric", metric},
                      {"value", value_of(*best, metric)},
                      {"round", best->round},
                      {"model_digest", best->model.hex()}};
}

json::object run_json(const registry::RunRow& run, const std::vector<registry::RoundRow>& rounds) {
  std::uint64_t up = 0;
  std::uint64_t down = 0;
  std::optional<double> accuracy;
  std::optional<double> loss;
  for (const registry::RoundRow& round : rounds) {
    up += round.bytes_up;
    down += round.bytes_down;
    if (round.accuracy && round.cluster.empty()) {
      accuracy = round.accuracy;
      loss = round.loss;
    }
  }
  const rounds::RunState& state = run.state;
  const rounds::RunSpec& spec = state.spec;
  const bool flat = spec.clusters.by == rounds::Grouping::By::nothing;
  const bool at_work = state.phase == rounds::Phase::fitting || state.phase == rounds::Phase::aggregating;
  const std::string_view phase = run.paused && !rounds::is_over(state.phase) ? "paused"
                                 : at_work                                   ? "running"
                                                                             : to_string(state.phase);
  const bool part = state.part != rounds::Part::whole;
  const bool of_project = !run.project.empty();
  return {{"id", state.id.str()},
          {"project", of_project ? json::value(run.project) : json::value(nullptr)},
          {"place", of_project ? json::value(run.source.place) : json::value(nullptr)},
          {"commit", of_project ? json::value(run.source.commit) : json::value(nullptr)},
          {"manifest", digest_or_null(run.source.manifest)},
          {"origin", run.origin.empty() ? json::value(nullptr) : json::value(run.origin)},
          {"part", part ? json::value(rounds::to_string(state.part)) : json::value(nullptr)},
          {"revision", run.revision},
          {"state", phase},
          {"reason", state.reason},
          {"model_name", state.spec.model},
          {"data", state.spec.data},
          {"algorithm", state.spec.algorithm.name},
          {"round", state.round},
          {"rounds_total", part   ? rounds::last_round(state)
                           : flat ? spec.cycles * spec.rounds
                                  : spec.cycles},
          {"cycle", flat ? rounds::cycle_of(spec, state.round) : state.round},
          {"cycles", spec.cycles},
          {"created_at", time_or_null(run.created_at)},
          {"finished_at", time_or_null(run.finished_at)},
          {"accuracy", number_or_null(accuracy)},
          {"loss", number_or_null(loss)},
          {"model_digest", digest_or_null(state.model)},
          {"best", best_json(run, rounds)},
          {"parameters", run.parameters},
          {"bytes_up", up},
          {"bytes_down", down}};
}

json::object cluster_json(const rounds::ClusterId& cluster, const ClusterView& view,
                          const std::vector<registry::RoundRow>& rounds,
                          const std::vector<registry::ClusterFigures>& figures) {
  json::object out{
      {"cluster", cluster.str()},          {"state", view.state},    {"reason", view.reason}, {"round", view.round},
      {"participants", view.participants}, {"model_digest", nullptr}};
  std::uint64_t up = 0;
  std::uint64_t down = 0;
  for (const registry::RoundRow& round : rounds) {
    if (round.cluster == cluster) {
      up += round.bytes_up;
      down += round.bytes_down;
      out["model_digest"] = digest_or_null(round.model);
    }
  }
  out["bytes_up"] = up;
  out["bytes_down"] = down;
  for (const char* name : {"measured_cycle", "accuracy", "loss", "accuracy_min", "accuracy_max", "evaluated_samples",
                           "evaluated_devices"}) {
    out[name] = nullptr;
  }
  for (const registry::ClusterFigures& of : figures) {  // the newest ones stand
    if (of.cluster == cluster) {
      out["measured_cycle"] = of.cycle;
      out["accuracy"] = of.accuracy;
      out["loss"] = of.loss;
      out["accuracy_min"] = of.accuracy_min;
      out["accuracy_max"] = of.accuracy_max;
      out["evaluated_samples"] = of.samples;
      out["evaluated_devices"] = of.devices;
    }
  }
  return out;
}

json::object status_json(const wire::CoordinatorStatus& status, const Fleet& fleet, const Link& link,
                         std::size_t inbox_bytes) {
  const mqtt::Stats stats = link.stats();
  return {{"version", status.version},
          {"role", status.role},
          {"uptime_seconds", status.uptime_seconds},
          {"runs_active", status.runs_active},
          {"devices", fleet.devices().size()},
          {"devices_online", status.devices_online},
          {"reconnect_window_seconds", status.reconnect_window_seconds},
          {"health", health_json(status.health)},
          {"inbox",
           {{"messages", stats.messages_received},
            {"bytes", stats.bytes_received},
            {"peak_messages", stats.mailbox_peak_messages},
            {"peak_bytes", stats.mailbox_peak_bytes},
            {"limit_bytes", inbox_bytes},
            {"waits", stats.mailbox_waits}}}};
}

json::object model_json(const registry::ModelRow& model) {
  return {{"digest", model.digest.hex()},
          {"run", model.run.str()},
          {"cluster", model.cluster.empty() ? json::value(nullptr) : json::value(model.cluster.str())},
          {"round", model.round},
          {"layout", model.layout.hex()},
          {"parameters", model.parameters},
          {"bytes", model.bytes},
          {"created_at", time_or_null(model.created_at)}};
}

http::Response json_response(int status, const json::object& body) {
  http::Response response;
  response.status = status;
  response.body = json::serialize(body) + "\n";
  return response;
}

http::Response error_response(int status, std::string_view code, std::string_view message) {
  return json_response(status, {{"error", json::object{{"code", code}, {"message", message}}}});
}

http::Response error_response(const Error& error) {
  switch (error.kind) {
    case ErrorKind::transient:
    case ErrorKind::resource:
    case ErrorKind::denied:  // by the storage: what a caller may not do is answered without an Error
      return error_response(503, "unavailable", error.what);
    case ErrorKind::permanent: return error_response(400, "bad_request", error.what);
    default: return error_response(500, "internal", error.what);
  }
}

}  // namespace flops::coordinator
