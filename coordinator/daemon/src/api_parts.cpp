// Parts of another coordinator's run, and the models they begin with.
#include <cmath>
#include <system_error>

#include "api.hpp"
#include "api_json.hpp"
#include "round_work.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using registry::AskedPart;
using rounds::Part;
using rounds::Phase;

namespace {

// Known at once, with what they made: whoever asks forgets what it has fetched.
constexpr std::size_t most_parts = 64;
constexpr std::string_view models_path = "/v1/models/";

std::string_view state_of(Phase phase) {
  return phase == Phase::waiting ? "queued" : rounds::is_over(phase) ? to_string(phase) : "working";
}

json::value figures_json(const registry::ModelFigures& figures) {
  if (figures.devices == 0 || !std::isfinite(figures.loss)) {
    return nullptr;
  }
  return json::object{{"loss", figures.loss},
                      {"accuracy", figures.accuracy},
                      {"accuracy_min", figures.accuracy_min},
                      {"accuracy_max", figures.accuracy_max},
                      {"samples", figures.samples},
                      {"devices", figures.devices}};
}

rounds::PartRequest as_it_was_asked(const AskedPart& part, const rounds::RunState& state) {
  return rounds::as_asked({part.key, state.part, state.spec, state.first_round, part.base, part.sum});
}

json::object part_json(const AskedPart& part, const registry::RunRow& run, const rounds::Tree* active) {
  const rounds::RunState& state = run.state;
  const std::int64_t first_round = as_it_was_asked(part, state).first_round;
  const bool passed_on = state.spec.clusters.by == rounds::Grouping::By::sites;  // its rounds are one round here
  std::string reason = state.reason;
  if (state.phase == Phase::waiting && active != nullptr && active->top.id != part.run) {
    reason = fmt::format("waits for {}", active->top.id);
  }
  return {{"key", part.key.str()},
          {"run", part.run.str()},
          {"kind", rounds::to_string(state.part)},
          {"state", state_of(state.phase)},
          {"reason", reason},
          {"first_round", first_round},
          {"round", passed_on && state.round > 0 ? first_round : state.round},
          {"rounds", state.spec.rounds},
          {"participants", state.participants.size()}};
}

http::Response unknown_part() {
  return error_response(404, "not_found", "there is no such part");
}

}  // namespace

http::Response Api::route_part(const http::Request& request, const std::string& rest) {
  const bool get = request.method == "GET";
  const bool forget = request.method == "DELETE";
  if (rest.empty()) {
    return request.method == "POST" ? ask_part(request)
           : get                    ? list_parts()
                                    : error_response(405, "method", "only GET and POST");
  }
  if (!get && !forget) {
    return error_response(405, "method", "only GET and DELETE");
  }
  constexpr std::string_view sum = "/sum";
  const bool of_sum = get && rest.size() > sum.size() + 1 && rest.ends_with(sum);
  const auto key = TaskId::parse(std::string_view(rest).substr(1, rest.size() - 1 - (of_sum ? sum.size() : 0)));
  auto found = key ? parts_.registry.asked_parts(*key) : Result<std::vector<AskedPart>>();
  if (!found) {
    return error_response(found.error());
  }
  if (found->empty()) {
    return forget ? http::Response{.status = 204} : unknown_part();
  }
  const AskedPart& part = found->front();
  return forget ? forget_part(part) : of_sum ? get_sum(part) : show_part(part);
}

http::Response Api::ask_part(const http::Request& request) {
  auto asked = rounds::parse_part_request(request.body);
  if (!asked) {
    return error_response(422, "unprocessable", asked.error().what);
  }
  auto known = parts_.registry.asked_parts();
  if (!known) {
    return error_response(known.error());
  }
  for (const AskedPart& part : *known) {
    if (part.key == asked->key) {
      return known_part(part, *asked);
    }
  }
  if (known->size() >= most_parts) {
    return error_response(429, "too_many",
                          fmt::format("{} parts are known: delete those that are fetched", most_parts));
  }
  std::optional<tensor::Layout> layout;
  if (!asked->base.empty()) {
    std::error_code error;
    if (!std::filesystem::exists(parts_.models.path_of(asked->base), error)) {
      return error_response(404, "not_found", fmt::format("there is no model {}: put it first", asked->base.hex()));
    }
    auto base = parts_.models.open(asked->base);
    if (!base) {
      return error_response(base.error());
    }
    layout = std::move(base->layout);
  }
  // Who has sites with the data has them do it.
  if (!parts_.fleet.able(asked->spec, wire::Role::cluster).empty()) {
    asked = rounds::passed_on(*asked);
    if (!asked) {
      return error_response(422, "unprocessable", asked.error().what);
    }
  }
  auto run = parts_.runs.start(*asked, layout);
  return run ? json_response(201, {{"key", asked->key.str()}, {"run", run->str()}}) : error_response(run.error());
}

http::Response Api::known_part(const AskedPart& part, const rounds::PartRequest& request) {
  auto run = parts_.registry.run(part.run);
  if (!run || !*run) {
    return run ? unknown_part() : error_response(run.error());
  }
  return as_it_was_asked(part, (*run)->state) == request
             ? json_response(200, {{"key", part.key.str()}, {"run", part.run.str()}})
             : error_response(409, "key_taken", fmt::format("the part {} was asked for with other words", part.key));
}

http::Response Api::list_parts() {
  auto parts = parts_.registry.asked_parts();
  if (!parts) {
    return error_response(parts.error());
  }
  json::array out;
  for (const AskedPart& part : *parts) {
    auto run = parts_.registry.run(part.run);
    if (!run) {
      return error_response(run.error());
    }
    if (*run) {
      out.emplace_back(part_json(part, **run, parts_.runs.tree()));
    }
  }
  return json_response(200, {{"parts", std::move(out)}});
}

http::Response Api::show_part(const AskedPart& part) {
  auto run = parts_.registry.run(part.run);
  if (!run || !*run) {
    return run ? unknown_part() : error_response(run.error());
  }
  json::object out = part_json(part, **run, parts_.runs.tree());
  out["result"] = nullptr;
  if ((*run)->state.phase == Phase::finished) {
    auto result = part_result(part, **run);
    if (!result) {
      return error_response(result.error());
    }
    out["result"] = *std::move(result);
  }
  return json_response(200, out);
}

// All of it is in the records of the run; only the sum is a file.
Result<json::object> Api::part_result(const AskedPart& part, const registry::RunRow& run) {
  const rounds::RunState& state = run.state;
  const bool trained = state.part == Part::rounds;
  const std::int64_t last = rounds::last_round(state);
  auto contributions =
      trained ? parts_.registry.contributions(part.run, last) : Result<std::vector<registry::ContributionRow>>();
  auto figures = parts_.registry.model_figures(part.run, trained ? state.first_round - 1 : state.round);
  if (!contributions || !figures) {
    return fail(contributions ? figures.error() : contributions.error());
  }
  const RoundWork work = work_of_round(*contributions);
  std::error_code none;
  const std::uintmax_t bytes = part.sum ? std::filesystem::file_size(parts_.runs.sum_file(part.run), none) : 0;
  const bool sum = part.sum && !none;
  const bool made = state.part != Part::evaluate;
  return json::object{{"model", made ? json::value(state.model.hex()) : json::value(nullptr)},
                      {"sum", sum},
                      {"sum_bytes", sum ? bytes : 0},
                      {"weight", work.samples},
                      {"steps", work.steps},
                      {"train_loss", std::isfinite(work.train_loss) ? json::value(work.train_loss) : nullptr},
                      {"layout", state.part == Part::initialise ? json::value(run.layout) : json::value(nullptr)},
                      {"metrics", state.part == Part::initialise ? json::value(nullptr) : figures_json(*figures)}};
}

http::Response Api::get_sum(const AskedPart& part) {
  auto run = parts_.registry.run(part.run);
  if (!run) {
    return error_response(run.error());
  }
  http::Response response;
  response.content_type = "application/octet-stream";
  response.file = parts_.runs.sum_file(part.run);
  std::error_code error;
  const bool there =
      part.sum && *run && (*run)->state.phase == Phase::finished && std::filesystem::exists(response.file, error);
  return there ? response : error_response(404, "not_found", "the part has no sum (yet)");
}

http::Response Api::forget_part(const AskedPart& part) {
  auto forgotten = parts_.runs.forget(part);
  return forgotten ? http::Response{.status = 204} : error_response(forgotten.error());
}

http::BodyPlan Api::plan_body(const http::Request& head) {
  if (head.method != "PUT" || !head.path.starts_with(models_path)) {
    return {};
  }
  const auto caller = caller_of(head);
  if (!caller) {
    return caller.error();
  }
  if (caller->role == registry::Role::viewer) {
    return error_response(403, "denied", "this needs the role operator");
  }
  if (auto digest = Digest::from_hex(head.path.substr(models_path.size())); !digest || digest->empty()) {
    return error_response(404, "not_found", "a model is named by 64 lower-case hexadecimal digits");
  }
  const std::uint64_t most = tensor::max_safetensors_header + sizeof(std::uint64_t) +
                             static_cast<std::uint64_t>(parts_.config.limits.max_parameters) * sizeof(float);
  return http::Upload{parts_.models.unfinished_file(), most};
}

void Api::put_model(const http::Request& request, http::Reply reply) {
  const auto digest = Digest::from_hex(request.path.substr(models_path.size()));
  if (!digest) {
    reply(error_response(404, "not_found", "there is no such model"));
    return;
  }
  std::error_code error;
  const bool known = std::filesystem::exists(parts_.models.path_of(*digest), error);
  parts_.worker.submit(
      [models = parts_.models, file = request.upload, digest = *digest,
       most = static_cast<std::uint64_t>(parts_.config.limits.max_parameters)] {
        return aggregation::take_in(models, file, digest, most);
      },
      [reply = std::move(reply), digest = *digest, known](const Result<>& taken) {
        if (!taken) {
          reply(taken.error().kind == ErrorKind::permanent ? error_response(422, "unprocessable", taken.error().what)
                                                           : error_response(taken.error()));
          return;
        }
        reply(json_response(known ? 200 : 201, {{"digest", digest.hex()}}));
      });
}

}  // namespace flops::coordinator
