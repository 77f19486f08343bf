// What another coordinator asks of this one: a part of its run, to be done with the devices here (docs/protocol.md,
// "Parts"). Plain functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/rounds/run_machine.hpp"
#include "flops/rounds/run_spec.hpp"

namespace flops::rounds {

struct PartRequest {
  TaskId key;  // of the asker: the same one is the same part
  Part kind = Part::rounds;
  RunSpec spec;                  // `rounds`: of the part
  std::int64_t first_round = 1;  // rounds are counted through all cycles
  Digest base;                   // the model it begins with; none: it makes the first
  bool sum = false;              // its exact sum is wanted

  bool operator==(const PartRequest&) const = default;
};

// init, train, evaluate; "run" for a whole run.
[[nodiscard]] std::string_view to_string(Part kind);

// permanent: everything that is wrong, one problem a line, also of the specification.
[[nodiscard]] Result<PartRequest> parse_part_request(std::string_view json);

// The same, done by sites below this coordinator instead of devices: as the one cycle of a run over sites, who get the
// part's rounds and seed as they are. First and last round are cycles then. permanent: the part does not begin where a
// cycle does, or cannot be done so (with one round only the step above is taken: no other algorithm of the devices').
[[nodiscard]] Result<PartRequest> passed_on(const PartRequest& request);
// What passed_on() was given; a request that was not passed on as it is.
[[nodiscard]] PartRequest as_asked(PartRequest request);

// The machine of a run that does only this; it waits for its devices.
[[nodiscard]] RunState part_state(const PartRequest& request);

}  // namespace flops::rounds
