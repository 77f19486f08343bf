#include "flops/rounds/part_request.hpp"

#include <sstream>
#include <vector>

#include "spec_fields.hpp"

namespace flops::rounds {
namespace {

constexpr std::int64_t most_rounds = 100'000;
constexpr std::int64_t longest_deadline = 604'800;

void read_key(Fields& fields, TaskId& key) {
  std::string text;
  fields.text("key", text, max_id_length, true);
  if (auto parsed = TaskId::parse(text); parsed) {
    key = *std::move(parsed);
  } else if (!text.empty()) {
    fields.wrong("key", parsed.error().what);
  }
}

void read_kind(Fields& fields, Part& kind) {
  std::string text;
  fields.choice("kind", text, {"init", "train", "evaluate"});
  kind = text == "init" ? Part::initialise : text == "evaluate" ? Part::evaluate : Part::rounds;
}

void read_base(Fields& fields, PartRequest& request) {
  const bool given = fields.find("base") != nullptr;
  if (request.kind == Part::initialise) {
    if (given) {
      fields.wrong("base", "init makes the first model and begins with none");
    }
    return;
  }
  std::string text;
  fields.text("base", text, 2 * Digest::size, true);
  if (auto digest = Digest::from_hex(text); digest && !digest->empty()) {
    request.base = *digest;
  } else if (!text.empty()) {
    fields.wrong("base", "expected 64 lower-case hexadecimal digits");
  }
}

void read_spec(Fields& fields, RunSpec& spec, std::vector<std::string>& problems) {
  const json::value* value = fields.find("spec");
  if (value == nullptr || !value->is_object()) {
    fields.wrong("spec", value == nullptr ? "is missing" : "expected an object");
    return;
  }
  auto parsed = parse_run_spec(json::serialize(*value));
  if (!parsed) {
    std::istringstream lines(parsed.error().what);
    for (std::string line; std::getline(lines, line);) {
      problems.push_back(fmt::format("spec.{}", line));
    }
    return;
  }
  spec = *std::move(parsed);
  if (spec.cycles != 1) {
    fields.wrong("spec.cycles", "a part is of one cycle");
  }
  if (spec.clusters.by != Grouping::By::nothing) {
    fields.wrong("spec.clusters", "the devices of a part are in none");
  }
  if (spec.mode != Mode::sync) {
    fields.wrong("spec.mode", "only sync");
  }
  if (!spec.goal.empty()) {
    fields.wrong("spec.goal", "who asked for the part has the goal");
  }
  if (spec.algorithm.name == "scaffold") {
    fields.wrong("spec.algorithm", "scaffold is for flat runs");
  }
}

}  // namespace

std::string_view to_string(Part kind) {
  switch (kind) {
    case Part::whole: break;
    case Part::initialise: return "init";
    case Part::rounds: return "train";
    case Part::evaluate: return "evaluate";
  }
  return "run";
}

Result<PartRequest> parse_part_request(std::string_view text) {
  json::parse_options options;
  options.max_depth = 5;
  json::error_code error;
  const json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::permanent, "a part is a JSON object{}{}", error ? ": " : "", error ? error.message() : "");
  }
  PartRequest request;
  std::vector<std::string> problems;
  Fields fields(value.get_object(), problems, "");
  std::int64_t version = 1;
  fields.integer("v", version, 1, 1);
  if (fields.find("v") == nullptr) {
    fields.wrong("v", "is missing");
  }
  read_key(fields, request.key);
  read_kind(fields, request.kind);
  read_base(fields, request);
  fields.integer("first_round", request.first_round, 1, most_rounds);
  fields.boolean("sum", request.sum);
  read_spec(fields, request.spec, problems);
  fields.refuse_unknown();
  if (request.first_round - 1 + request.spec.rounds > most_rounds) {
    fields.wrong("first_round", fmt::format("the last round would be beyond {}", most_rounds));
  }
  if (request.sum && (request.kind != Part::rounds || request.spec.rounds != 1)) {
    fields.wrong("sum", "only train with one round has a sum to give");
  }
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  return request;
}

Result<PartRequest> passed_on(const PartRequest& request) {
  const std::int64_t before = request.first_round - 1;
  if (before % request.spec.rounds != 0) {
    return fail(ErrorKind::permanent, "first_round: sites do cycles of {} rounds, and none begins with round {}",
                request.spec.rounds, request.first_round);
  }
  PartRequest passed = request;
  passed.first_round = before / request.spec.rounds + 1;
  passed.spec.clusters.by = Grouping::By::sites;
  if (passed.kind == Part::rounds) {
    passed.spec.global.deadline_seconds = longest_deadline;  // who asked for it ends it
  }
  // As it will be read when it goes on after a restart.
  if (auto read = parse_run_spec(to_json(passed.spec)); !read) {
    return fail(read.error(), "it is passed on to sites");
  }
  return passed;
}

PartRequest as_asked(PartRequest request) {
  if (request.spec.clusters.by == Grouping::By::sites) {
    request.first_round = (request.first_round - 1) * request.spec.rounds + 1;
    request.spec.clusters = {};
    request.spec.global = {};
  }
  return request;
}

RunState part_state(const PartRequest& request) {
  RunState state;
  state.spec = request.spec;
  state.part = request.kind;
  state.first_round = request.first_round;
  state.model = request.base;
  // Evaluation is of the model that the last of the rounds made.
  state.round = request.kind == Part::evaluate ? last_round(state) : 0;
  return state;
}

}  // namespace flops::rounds
