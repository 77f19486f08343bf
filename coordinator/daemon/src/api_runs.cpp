// Runs with their rounds, and with their clusters.
#include <algorithm>
#include <iterator>

#include "api.hpp"
#include "api_json.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using rounds::ClusterId;

namespace {

bool has_clusters(const rounds::RunSpec& spec) {
  return spec.clusters.by != rounds::Grouping::By::nothing;
}

// What the devices of all clusters did in each cycle, in the cycle's row.
void add_to_cycles(std::vector<registry::RoundRow>& rounds, const rounds::RunSpec& spec) {
  std::map<std::int64_t, registry::RoundRow*> cycles;
  for (registry::RoundRow& round : rounds) {
    if (round.cluster.empty()) {
      cycles.emplace(round.round, &round);
    }
  }
  for (const registry::RoundRow& round : rounds) {
    const auto cycle = cycles.find(rounds::cycle_of(spec, round.round));
    if (round.cluster.empty() || cycle == cycles.end()) {
      continue;
    }
    registry::RoundRow& sum = *cycle->second;
    sum.bytes_up += round.bytes_up;
    sum.bytes_down += round.bytes_down;
    sum.rejected += round.rejected;
    sum.dropped += round.dropped;
    sum.local_rounds += round.local_rounds;
    sum.train_seconds_max = std::max(sum.train_seconds_max, round.train_seconds_max);
  }
}

json::array rounds_json(const std::vector<registry::RoundRow>& rounds, const ClusterId& cluster) {
  json::array out;
  for (const registry::RoundRow& round : rounds) {
    if (round.cluster == cluster) {
      out.emplace_back(round_json(round));
    }
  }
  return out;
}

// Level 1: between devices and their coordinator. Level 2: between clusters and the top: one process here, or the
// traffic with sites, which do not tell that of their devices.
json::array levels_json(const std::vector<registry::RoundRow>& rounds, const rounds::Grouping& clusters) {
  std::uint64_t up = 0;
  std::uint64_t down = 0;
  for (const registry::RoundRow& round : rounds) {
    up += round.bytes_up;
    down += round.bytes_down;
  }
  const json::object here{{"bytes_up", up}, {"bytes_down", down}};
  const json::object none{{"bytes_up", 0}, {"bytes_down", 0}};
  const bool sites = clusters.by == rounds::Grouping::By::sites;
  json::array levels{sites ? none : here};
  if (clusters.by != rounds::Grouping::By::nothing) {
    levels.emplace_back(sites ? here : none);
  }
  for (std::size_t i = 0; i < levels.size(); ++i) {
    levels[i].as_object()["level"] = i + 1;
  }
  return levels;
}

// Of a run of sites: what each has sent, and what this coordinator does not know of its devices.
void add_sites(std::map<ClusterId, json::object>& sites, const std::map<DeviceId, std::uint64_t>& sent,
               const rounds::Tree& tree) {
  for (auto& [name, object] : sites) {
    const DeviceId site = DeviceId::parse(name.str()).value_or(DeviceId());
    const auto bytes = sent.find(site);
    object["bytes_up"] = bytes == sent.end() ? 0 : bytes->second;
    object["online"] = tree.top.available.contains(site);
    for (const char* untold : {"bytes_down", "participants", "devices_online"}) {
      object[untold] = nullptr;
    }
  }
}

}  // namespace

http::Response Api::list_runs() {
  auto runs = parts_.registry.runs();
  if (!runs) {
    return error_response(runs.error());
  }
  json::array out;
  for (const registry::RunRow& run : *runs) {
    auto rounds = parts_.registry.rounds_of(run.state.id);
    if (!rounds) {
      return error_response(rounds.error());
    }
    out.emplace_back(run_json(run, *rounds));
  }
  return json_response(200, {{"runs", std::move(out)}});
}

http::Response Api::show_run(const RunId& id) {
  auto run = parts_.registry.run(id);
  if (!run) {
    return error_response(run.error());
  }
  if (!*run) {
    return error_response(404, "not_found", fmt::format("there is no run '{}'", id));
  }
  auto rounds = parts_.registry.rounds_of(id);
  if (!rounds) {
    return error_response(rounds.error());
  }
  json::object out = run_json(**run, *rounds);
  out["rounds"] = rounds_json(*rounds, {});
  const rounds::RunSpec& spec = (*run)->state.spec;
  out["levels"] = levels_json(*rounds, spec.clusters);
  if (has_clusters(spec)) {
    auto clusters = clusters_of(**run, *rounds);
    if (!clusters) {
      return error_response(clusters.error());
    }
    json::array list;
    for (auto& [cluster, object] : *clusters) {
      object["rounds"] = rounds_json(*rounds, cluster);
      list.emplace_back(std::move(object));
    }
    out["clusters"] = std::move(list);
    add_to_cycles(*rounds, spec);
    out["rounds"] = rounds_json(*rounds, {});
  }
  json::array left_out;
  for (const auto& [device, reason] : parts_.fleet.left_out(spec)) {
    left_out.emplace_back(json::object{{"device", device.str()}, {"reason", reason}});
  }
  out["left_out"] = std::move(left_out);
  out["spec"] = json::parse(rounds::to_json(spec));
  return json_response(200, out);
}

// As the run sees them now, or saw them when it ended.
rounds::Tree Api::tree_of(const registry::RunRow& run) const {
  const rounds::Tree* active = parts_.runs.tree();
  return active != nullptr && active->top.id == run.state.id ? *active : rounds::make_tree(run.state, run.parts);
}

Result<std::map<ClusterId, json::object>> Api::clusters_of(const registry::RunRow& run,
                                                           const std::vector<registry::RoundRow>& rounds) const {
  auto figures = parts_.registry.cluster_figures(run.state.id);
  auto sent = parts_.registry.bytes_up(run.state.id);
  if (!figures || !sent) {
    return fail(figures ? sent.error() : figures.error());
  }
  const rounds::Tree tree = tree_of(run);
  std::set<ClusterId> names = clusters_in(tree);
  std::ranges::transform(rounds, std::inserter(names, names.end()), &registry::RoundRow::cluster);
  std::ranges::transform(*figures, std::inserter(names, names.end()), &registry::ClusterFigures::cluster);
  for (const auto& [device, bytes] : *sent) {
    if (tree.of_sites()) {
      names.insert(rounds::cluster_of(tree.spec.clusters, device, {}));
    }
  }
  names.erase(ClusterId());
  std::map<ClusterId, json::object> clusters;
  for (const ClusterId& name : names) {
    const auto members = tree.available.find(name);
    json::object object = cluster_json(name, cluster_view(tree, name), rounds, *figures);
    object["devices_online"] = members == tree.available.end() ? 0 : members->second.size();
    clusters.emplace(name, std::move(object));
  }
  if (tree.of_sites()) {
    add_sites(clusters, *sent, tree);
  }
  return clusters;
}

// The active one, else the newest that has clusters.
Result<std::optional<registry::RunRow>> Api::run_with_clusters() {
  if (const rounds::Tree* active = parts_.runs.tree(); active != nullptr && has_clusters(active->spec)) {
    return parts_.registry.run(active->top.id);
  }
  auto runs = parts_.registry.runs();
  if (!runs) {
    return fail(runs.error());
  }
  const auto newest =
      std::ranges::find_if(*runs, [](const registry::RunRow& run) { return has_clusters(run.state.spec); });
  return newest == runs->end() ? Result<std::optional<registry::RunRow>>(std::nullopt)
                               : parts_.registry.run(newest->state.id);
}

http::Response Api::list_clusters() {
  auto run = run_with_clusters();
  if (!run) {
    return error_response(run.error());
  }
  if (!*run) {
    return json_response(200, {{"run", nullptr}, {"clusters", json::array()}});
  }
  auto rounds = parts_.registry.rounds_of((*run)->state.id);
  auto clusters = rounds ? clusters_of(**run, *rounds) : fail(rounds.error());
  if (!clusters) {
    return error_response(clusters.error());
  }
  json::array list;
  for (auto& [cluster, object] : *clusters) {
    list.emplace_back(std::move(object));
  }
  return json_response(200, {{"run", (*run)->state.id.str()}, {"clusters", std::move(list)}});
}

http::Response Api::show_cluster(const std::string& text) {
  const auto id = ClusterId::parse(text);
  auto run = run_with_clusters();
  if (!run) {
    return error_response(run.error());
  }
  if (!id || !*run) {
    return error_response(404, "not_found", "there is no such cluster");
  }
  auto rounds = parts_.registry.rounds_of((*run)->state.id);
  auto clusters = rounds ? clusters_of(**run, *rounds) : fail(rounds.error());
  if (!clusters) {
    return error_response(clusters.error());
  }
  const auto found = clusters->find(*id);
  if (found == clusters->end()) {
    return error_response(404, "not_found", "there is no such cluster");
  }
  json::array members;
  for (const auto& [device, known] : parts_.fleet.devices()) {
    const bool is_in =
        known.row.hello && rounds::cluster_of((*run)->state.spec.clusters, device, known.row.hello->labels) == *id;
    if (is_in) {
      members.emplace_back(json::object{{"id", device.str()}, {"online", known.state.online}});
    }
  }
  json::object out = std::move(found->second);
  out["run"] = (*run)->state.id.str();
  out["rounds"] = rounds_json(*rounds, *id);
  out["devices"] = std::move(members);
  return json_response(200, out);
}

}  // namespace flops::coordinator
