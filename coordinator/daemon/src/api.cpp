#include "api.hpp"

#include <charconv>

#include "api_json.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using registry::Role;

namespace {

constexpr auto longest_wait = std::chrono::seconds(30);
constexpr std::size_t max_waiting = 128;

// "/v1/runs/run-1/stop" after "/v1/runs/": "run-1/stop"; nothing when the prefix is another.
std::optional<std::string> after(const std::string& path, std::string_view prefix) {
  if (!path.starts_with(prefix)) {
    return std::nullopt;
  }
  return path.substr(prefix.size());
}

std::int64_t query_number(const http::Request& request, const char* name, std::int64_t fallback) {
  const auto found = request.query.find(name);
  std::int64_t value = fallback;
  if (found != request.query.end()) {
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      return fallback;
    }
  }
  return value;
}

}  // namespace

Api::Api(Parts parts) : parts_(std::move(parts)), timer_(parts_.loop) {}

void Api::handle(const http::Request& request, http::Reply reply) {
  if (request.path == "/livez" || request.path == "/readyz") {
    reply(request.method == "GET" ? health(request.path) : error_response(405, "method", "only GET"));
    return;
  }
  if (auto answer = route_open(request)) {
    reply(*std::move(answer));
    return;
  }
  const auto caller = caller_of(request);
  if (!caller) {
    reply(caller.error());
    return;
  }
  if (!request.upload.empty()) {
    put_model(request, std::move(reply));
    return;
  }
  if (request.method == "GET" && request.query.contains("wait") && wait_for_run(request, reply)) {
    return;
  }
  if (request.method == "POST" && ask_report(request, *caller, reply)) {
    return;
  }
  reply(route(request, *caller));
}

// What needs no token: before a device has joined, and what it may ask for with its key alone.
std::optional<http::Response> Api::route_open(const http::Request& request) {
  http::Response response;
  response.content_type = "application/x-pem-file";
  if (request.path == "/v1/ca" && request.method == "GET") {
    response.body = parts_.credentials.ca.trust_pem();
    return response;
  }
  if (request.path == "/v1/crl" && request.method == "GET") {
    auto list = parts_.broker_access.revocation_list();
    if (!list) {
      return error_response(list.error());
    }
    response.body = *std::move(list);
    return response;
  }
  if (request.path == "/v1/enrol" && request.method == "POST") {
    return enrol(request);
  }
  if (request.path == "/v1/renew" && request.method == "POST") {
    return renew(request);
  }
  return std::nullopt;
}

std::expected<registry::ApiCaller, http::Response> Api::caller_of(const http::Request& request) {
  if (request.bearer.empty()) {
    return std::unexpected(error_response(401, "unauthenticated", "this needs a token: Authorization: Bearer ..."));
  }
  auto caller = parts_.registry.api_caller(crypto::sha256(request.bearer));
  if (!caller) {
    return std::unexpected(error_response(caller.error()));
  }
  if (!*caller) {
    log::warn("api", "{} {} from {}: unknown token", request.method, request.path, request.peer);
    return std::unexpected(error_response(401, "unauthenticated", "unknown token"));
  }
  return **caller;
}

// What is about people and their rights.
std::optional<http::Response> Api::route_admin(const http::Request& request, const registry::ApiCaller& caller) {
  const std::string& path = request.path;
  const auto name = after(path, "/v1/access/");
  if (path != "/v1/access" && path != "/v1/audit" && !name) {
    return std::nullopt;
  }
  if (caller.role != Role::admin) {
    return error_response(403, "denied", "this needs the role admin");
  }
  if (name) {
    return request.method == "DELETE" ? remove_access(*name, caller) : error_response(405, "method", "only DELETE");
  }
  if (path == "/v1/audit") {
    return request.method == "GET" ? audit_log(request) : error_response(405, "method", "only GET");
  }
  return request.method == "POST"  ? make_access(request, caller)
         : request.method == "GET" ? list_access()
                                   : error_response(405, "method", "only GET and POST");
}

http::Response Api::route(const http::Request& request, const registry::ApiCaller& caller) {
  const Role role = caller.role;
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  if (const auto rest = after(request.path, "/v1/parts"); rest && (rest->empty() || rest->starts_with('/'))) {
    return role == Role::viewer ? error_response(403, "denied", "this needs the role operator")
                                : route_part(request, *rest);
  }
  if (auto answer = route_admin(request, caller)) {
    return *std::move(answer);
  }
  if (const auto rest = after(request.path, "/v1/devices"); rest && (rest->empty() || rest->starts_with('/'))) {
    return route_device(request, *rest, caller);
  }
  if (const auto rest = after(request.path, "/v1/projects"); rest && (rest->empty() || rest->starts_with('/'))) {
    return route_project(request, *rest, caller);
  }
  if (!get && !post) {
    return error_response(405, "method", "only GET and POST");
  }
  if (post && role == Role::viewer) {
    return error_response(403, "denied", "this needs the role operator");
  }
  const std::string& path = request.path;
  if (path == "/v1/tokens") {
    if (role == Role::viewer) {
      return error_response(403, "denied", "this needs the role operator");
    }
    return post ? make_token(request, caller) : list_tokens();
  }
  if (path == "/v1/runs") {
    return post ? start_run(request) : list_runs();
  }
  if (const auto rest = after(path, "/v1/runs/")) {
    if (post && rest->ends_with("/stop")) {
      return stop_run(rest->substr(0, rest->size() - 5), caller);
    }
    auto run = RunId::parse(*rest);
    return get && run ? show_run(*run) : error_response(404, "not_found", "there is no such run");
  }
  if (!get) {
    return error_response(404, "not_found", fmt::format("there is no POST {}", path));
  }
  if (path == "/v1/status") {
    return json_response(200, parts_.status());
  }
  if (path == "/v1/clusters") {
    return list_clusters();
  }
  if (const auto rest = after(path, "/v1/clusters/")) {
    return show_cluster(*rest);
  }
  if (path == "/v1/models") {
    return list_models();
  }
  if (const auto rest = after(path, "/v1/models/")) {
    return get_model(*rest);
  }
  return error_response(404, "not_found", fmt::format("there is no {}", path));
}

http::Response Api::health(const std::string& path) const {
  const std::string problem = path == "/readyz" ? parts_.not_ready() : std::string();
  return json_response(problem.empty() ? 200 : 503,
                       {{"status", problem.empty() ? "ok" : "not ready"}, {"reason", problem}, {"version", version}});
}

http::Response Api::start_run(const http::Request& request) {
  auto spec = rounds::parse_run_spec(request.body);
  if (!spec) {
    return error_response(spec.error());
  }
  if (const std::string why = parts_.fleet.nobody_can(*spec); !why.empty()) {
    return error_response(422, "nobody_can", why);
  }
  auto run = parts_.runs.start(*spec);
  if (!run) {
    return error_response(run.error());
  }
  http::Response response = show_run(*run);
  if (response.status == 200) {
    response.status = 201;
  }
  return response;
}

http::Response Api::stop_run(const std::string& text, const registry::ApiCaller& caller) {
  auto id = RunId::parse(text);
  auto known = id ? parts_.registry.run(*id) : Result<std::optional<registry::RunRow>>(std::nullopt);
  if (!known) {
    return error_response(known.error());
  }
  if (!*known) {
    return error_response(404, "not_found", "there is no such run");
  }
  if (auto refused = refuse_change(**known, caller)) {
    return *std::move(refused);
  }
  if (auto stopped = parts_.runs.stop(*id); !stopped) {
    return error_response(stopped.error());
  }
  return show_run(*id);
}

http::Response Api::list_models() {
  auto models = parts_.registry.models();
  if (!models) {
    return error_response(models.error());
  }
  json::array out;
  for (const registry::ModelRow& model : *models) {
    json::object row = model_json(model);
    row["accuracy"] = nullptr;
    row["loss"] = nullptr;
    if (auto rounds = parts_.registry.rounds_of(model.run)) {
      for (const registry::RoundRow& round : *rounds) {
        if (round.round == model.round && round.cluster == model.cluster && round.accuracy) {
          row["accuracy"] = *round.accuracy;
          row["loss"] = round.loss ? json::value(*round.loss) : json::value(nullptr);
        }
      }
    }
    out.emplace_back(std::move(row));
  }
  return json_response(200, {{"models", std::move(out)}});
}

http::Response Api::get_model(const std::string& text) {
  auto digest = Digest::from_hex(text);
  std::error_code error;
  if (!digest || !std::filesystem::exists(parts_.models.path_of(*digest), error)) {
    return error_response(404, "not_found", "there is no such model");
  }
  http::Response response;
  response.content_type = "application/octet-stream";
  response.file = parts_.models.path_of(*digest);
  response.headers["Content-Disposition"] = fmt::format("attachment; filename=\"{}.safetensors\"", digest->short_hex());
  return response;
}

// True when the answer waits for a change of the run.
bool Api::wait_for_run(const http::Request& request, http::Reply& reply) {
  const auto rest = after(request.path, "/v1/runs/");
  auto id = RunId::parse(rest.value_or(""));
  if (!rest || !id || waiting_.size() >= max_waiting) {
    return false;
  }
  const std::int64_t revision = query_number(request, "after", 0);
  const std::chrono::seconds wait(std::clamp<std::int64_t>(query_number(request, "wait", 0), 0, longest_wait.count()));
  auto run = parts_.registry.run(*id);
  if (!run || !*run || (*run)->revision > revision || wait.count() == 0) {
    return false;
  }
  waiting_.push_back({*id, revision, parts_.clock.steady() + wait, std::move(reply)});
  arm();
  return true;
}

void Api::changed() {
  for (auto place = waiting_.begin(); place != waiting_.end();) {
    auto run = parts_.registry.run(place->run);
    const bool fresh = !run || !*run || (*run)->revision > place->after;
    if (fresh || parts_.clock.steady() >= place->until) {
      place->reply(show_run(place->run));
      place = waiting_.erase(place);
    } else {
      ++place;
    }
  }
}

void Api::arm() {
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (cancelled) {
      return;
    }
    changed();
    if (!waiting_.empty()) {
      arm();
    }
  });
}

void Api::stop() {
  timer_.cancel();
  waiting_.clear();
}

}  // namespace flops::coordinator
