#include "flops/rounds/site.hpp"

#include <algorithm>

namespace flops::rounds {

wire::Part site_part(const RunSpec& spec, std::int64_t cycle) {
  RunSpec part = spec;
  part.cycles = 1;
  part.clusters = {};
  part.global = {};
  part.goal = {};  // of the cycles' models, which the site does not have
  if (spec.schedule != Schedule()) {
    part.schedule.rounds = spec.schedule.rounds > 0 ? spec.schedule.rounds : spec.cycles * spec.rounds;
  }
  if (spec.rounds == 1) {
    part.max_staleness = 0;  // no second round takes late updates, and weights shall have no factor
  }
  return {(std::max<std::int64_t>(cycle, 1) - 1) * spec.rounds + 1, to_json(part)};
}

bool offers_sum(const RunSpec& spec, wire::TaskKind kind) {
  return spec.clusters.by == Grouping::By::sites && spec.rounds == 1 && kind == wire::TaskKind::train;
}

}  // namespace flops::rounds
