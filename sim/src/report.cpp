#include "flops/sim/report.hpp"

#include <boost/json.hpp>

namespace flops::sim {
namespace {

namespace json = boost::json;

std::string accuracy_of(const std::optional<Measurement>& measured) {
  return measured ? fmt::format("{:.4f}", measured->accuracy) : "";
}

std::string loss_of(const std::optional<Measurement>& measured) {
  return measured ? fmt::format("{:.5f}", measured->loss) : "";
}

json::value measurement(const std::optional<Measurement>& measured) {
  if (!measured) {
    return nullptr;
  }
  return json::object{{"loss", measured->loss}, {"accuracy", measured->accuracy}, {"samples", measured->samples}};
}

json::object round_object(const RoundRecord& record) {
  json::object out{{"cluster", record.cluster},
                   {"round", record.round},
                   {"virtual_seconds", record.virtual_seconds},
                   {"seconds", record.seconds},
                   {"participants", record.participants},
                   {"late", record.late},
                   {"dropped", record.dropped},
                   {"bytes_up", record.bytes_up},
                   {"bytes_down", record.bytes_down},
                   {"train_loss", record.train_loss},
                   {"central", measurement(record.central)},
                   {"devices", measurement(record.devices)}};
  if (record.devices) {
    out["devices_accuracy_min"] = record.devices_min;
    out["devices_accuracy_max"] = record.devices_max;
  }
  if (!record.clusters.empty()) {
    json::object& clusters = out["clusters"].emplace_object();
    for (const auto& [cluster, measured] : record.clusters) {
      clusters[cluster] = measurement(measured);
    }
  }
  return out;
}

std::string csv_line(const RoundRecord& record) {
  return fmt::format("{},{},{:.3f},{:.3f},{},{},{},{},{},{:.6f},{},{},{},{}\n", record.cluster, record.round,
                     record.virtual_seconds, record.seconds, record.participants, record.late, record.dropped,
                     record.bytes_up, record.bytes_down, record.train_loss, accuracy_of(record.central),
                     loss_of(record.central), accuracy_of(record.devices), loss_of(record.devices));
}

json::array rounds_array(const std::vector<RoundRecord>& records) {
  json::array rounds;
  for (const RoundRecord& record : records) {
    rounds.push_back(round_object(record));
  }
  return rounds;
}

}  // namespace

std::string to_csv(const Summary& summary) {
  std::string text =
      "cluster,round,virtual_seconds,seconds,participants,late,dropped,bytes_up,bytes_down,train_loss,central_accuracy,"
      "central_loss,devices_accuracy,devices_loss\n";
  for (const auto* records : {&summary.rounds, &summary.cluster_rounds}) {
    for (const RoundRecord& record : *records) {
      text += csv_line(record);
    }
  }
  return text;
}

std::string to_json(const Project& project, const Summary& summary) {
  const json::object out{{"state", summary.state},
                         {"reason", summary.reason},
                         {"model", project.run.model},
                         {"learners", project.learners},
                         {"seed", project.run.seed},
                         {"parameters", summary.parameters},
                         {"model_digest", summary.model.hex()},
                         {"virtual_seconds", summary.virtual_seconds},
                         {"seconds", summary.seconds},
                         {"peak_rss_kb", summary.peak_rss_kb},
                         {"clusters", project.clusters},
                         {"algorithm", project.run.algorithm.name},
                         {"rounds", rounds_array(summary.rounds)},
                         {"cluster_rounds", rounds_array(summary.cluster_rounds)}};
  return json::serialize(out) + "\n";
}

std::string round_heading() {
  return fmt::format("{:>6} {:>10} {:>8} {:>6} {:>10} {:>9} {:>9}\n", "ROUND", "VIRTUAL", "SECONDS", "FROM", "UP",
                     "LOSS", "ACCURACY");
}

std::string round_line(const RoundRecord& record) {
  return fmt::format("{:>6} {:>9.0f}s {:>7.1f}s {:>6} {:>7.2f} MB {:>9.4f} {:>9}\n", record.round,
                     record.virtual_seconds, record.seconds, record.participants,
                     static_cast<double>(record.bytes_up) / 1e6, record.train_loss, accuracy_of(record.central));
}

}  // namespace flops::sim
