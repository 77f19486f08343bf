// Projects: a manifest that became a run, and what becomes of its runs.
#include <algorithm>
#include <array>

#include "api.hpp"
#include "api_body.hpp"
#include "api_json.hpp"
#include "flops/manifest/manifest.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using registry::Role;

namespace {

constexpr std::size_t most_settings = 64;
constexpr std::size_t longest_setting = 1024;
constexpr std::size_t longest_place = 2048;
constexpr std::size_t longest_commit = 64;
constexpr std::array<std::string_view, 3> verbs{"stop", "pause", "resume"};

bool is_verb(std::string_view text) {
  return std::ranges::find(verbs, text) != verbs.end();
}

struct ProjectPath {
  std::string name;
  std::string verb;  // empty: the project itself
};

// Of "/name/stop".
ProjectPath parse_path(const std::string& rest) {
  const auto slash = rest.find('/', 1);
  return slash == std::string::npos ? ProjectPath{rest.substr(1), ""}
                                    : ProjectPath{rest.substr(1, slash - 1), rest.substr(slash + 1)};
}

Result<std::vector<std::string>> settings_of(const json::object& body) {
  std::vector<std::string> settings;
  const auto* value = body.if_contains("settings");
  if (value == nullptr) {
    return settings;
  }
  const auto* list = value->if_array();
  bool good = list != nullptr && list->size() <= most_settings;
  for (std::size_t i = 0; good && i < list->size(); ++i) {
    const auto* text = (*list)[i].if_string();
    good = text != nullptr && text->size() <= longest_setting;
    if (good) {
      settings.emplace_back(text->data(), text->size());
    }
  }
  if (!good) {
    return fail(ErrorKind::permanent, "'settings': expected a list of at most {} texts of at most {} bytes",
                most_settings, longest_setting);
  }
  return settings;
}

Result<registry::RunSource> source_of(const json::object& body) {
  registry::RunSource source;
  const auto* value = body.if_contains("source");
  if (value == nullptr) {
    return source;
  }
  if (!value->is_object()) {
    return fail(ErrorKind::permanent, "'source': expected an object");
  }
  source.place = text_field(value->get_object(), "place");
  source.commit = text_field(value->get_object(), "commit");
  const auto plain = [](const std::string& text) {
    return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  };
  if (source.place.size() > longest_place || source.commit.size() > longest_commit || !plain(source.place) ||
      !plain(source.commit)) {
    return fail(ErrorKind::permanent, "'source': expected 'place' of at most {} bytes and 'commit' of at most {}",
                longest_place, longest_commit);
  }
  return source;
}

http::Response no_project(const std::string& name) {
  return error_response(404, "not_found", fmt::format("there is no project '{}'", name));
}

bool may_change(const registry::ProjectRow& project, const registry::ApiCaller& caller) {
  return caller.role == Role::admin || (caller.role == Role::operate && project.owner == caller.name);
}

http::Response not_theirs(const registry::ProjectRow& project) {
  return error_response(
      403, "denied",
      fmt::format("project '{}' belongs to {}: only its owner and admins may do this", project.name, project.owner));
}

}  // namespace

http::Response Api::route_project(const http::Request& request, const std::string& rest,
                                  const registry::ApiCaller& caller) {
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  if (rest.empty()) {
    if (!get && !post) {
      return error_response(405, "method", "only GET and POST");
    }
    return get ? list_projects() : submit_project(request, caller);
  }
  const ProjectPath path = parse_path(rest);
  auto found = parts_.registry.projects(path.name);
  if (!found) {
    return error_response(found.error());
  }
  if (path.name.empty() || found->empty()) {
    return no_project(path.name);
  }
  const registry::ProjectRow& project = found->front();
  if (path.verb.empty() && get) {
    return show_project(project);
  }
  const bool change = path.verb.empty() ? request.method == "DELETE" : post && is_verb(path.verb);
  if (!change) {
    return path.verb.empty() || is_verb(path.verb)
               ? error_response(405, "method", path.verb.empty() ? "only GET and DELETE" : "only POST")
               : error_response(404, "not_found", fmt::format("there is no {}", request.path));
  }
  if (!may_change(project, caller)) {
    return not_theirs(project);
  }
  return path.verb.empty() ? delete_project(project, caller) : change_project(project, path.verb, caller);
}

http::Response Api::submit_project(const http::Request& request, const registry::ApiCaller& caller) {
  if (caller.role == Role::viewer) {
    return error_response(403, "denied", "this needs the role operator");
  }
  auto body = parse_body(request.body);
  auto settings = body ? settings_of(*body) : fail(body.error());
  auto source = settings ? source_of(*body) : fail(settings.error());
  if (!source) {
    return error_response(source.error());
  }
  auto manifest = manifest::parse(text_field(*body, "manifest"), std::string(manifest::file_name), *settings);
  if (!manifest) {
    return error_response(422, "bad_manifest", manifest.error().what);
  }
  source->manifest = manifest::digest(*manifest);
  auto known = parts_.registry.projects(manifest->name);
  if (!known) {
    return error_response(known.error());
  }
  if (!known->empty() && !may_change(known->front(), caller)) {
    return not_theirs(known->front());
  }
  if (const std::string why = parts_.fleet.nobody_can(manifest->run); !why.empty()) {
    return error_response(422, "nobody_can", why);
  }
  const registry::ProjectRow project{manifest->name, caller.name, manifest->description, manifest->tags};
  auto run = parts_.runs.start(manifest->run, project, *source);
  if (!run) {
    return error_response(run.error());
  }
  if (auto noted = parts_.registry.note(caller.name, "project submitted", project.name, run->str()); !noted) {
    return error_response(noted.error());
  }
  http::Response response = show_run(*run);
  response.status = response.status == 200 ? 201 : response.status;
  return response;
}

Result<json::object> Api::project_object(const registry::ProjectRow& project,
                                         const std::vector<registry::RunRow>& runs) {
  json::array list;
  for (const registry::RunRow& run : runs) {
    if (run.project != project.name) {
      continue;
    }
    auto rounds = parts_.registry.rounds_of(run.state.id);
    if (!rounds) {
      return fail(rounds.error());
    }
    list.emplace_back(run_json(run, *rounds));
  }
  json::array tags(project.tags.begin(), project.tags.end());
  json::object out{{"name", project.name},
                   {"owner", project.owner},
                   {"description", project.description},
                   {"tags", std::move(tags)},
                   {"created_at", iso8601(project.created_at)}};
  out["runs"] = std::move(list);
  return out;
}

http::Response Api::list_projects() {
  auto projects = parts_.registry.projects();
  auto runs = projects ? parts_.registry.runs() : fail(projects.error());
  if (!runs) {
    return error_response(runs.error());
  }
  json::array list;
  for (const registry::ProjectRow& project : *projects) {
    auto object = project_object(project, *runs);
    if (!object) {
      return error_response(object.error());
    }
    list.emplace_back(*std::move(object));
  }
  return json_response(200, {{"projects", std::move(list)}});
}

http::Response Api::show_project(const registry::ProjectRow& project) {
  auto runs = parts_.registry.runs();
  auto object = runs ? project_object(project, *runs) : fail(runs.error());
  return object ? json_response(200, *object) : error_response(object.error());
}

// All runs of the project that are not over.
http::Response Api::change_project(const registry::ProjectRow& project, const std::string& verb,
                                   const registry::ApiCaller& caller) {
  auto runs = parts_.registry.runs();
  if (!runs) {
    return error_response(runs.error());
  }
  for (const registry::RunRow& run : *runs) {
    if (run.project != project.name || rounds::is_over(run.state.phase)) {
      continue;
    }
    auto done = verb == "stop" ? parts_.runs.stop(run.state.id) : parts_.runs.pause(run.state.id, verb == "pause");
    if (!done) {
      return error_response(done.error());
    }
  }
  const std::string_view action = verb == "stop"    ? "project stopped"
                                  : verb == "pause" ? "project paused"
                                                    : "project resumed";
  if (auto noted = parts_.registry.note(caller.name, action, project.name); !noted) {
    return error_response(noted.error());
  }
  return show_project(project);
}

// Its runs and their models stay.
http::Response Api::delete_project(const registry::ProjectRow& project, const registry::ApiCaller& caller) {
  auto runs = parts_.registry.runs();
  if (!runs) {
    return error_response(runs.error());
  }
  for (const registry::RunRow& run : *runs) {
    if (run.project == project.name && !rounds::is_over(run.state.phase)) {
      return error_response(
          409, "not_over",
          fmt::format("{} of project '{}' is not over: stop the project first", run.state.id, project.name));
    }
  }
  auto removed = parts_.registry.remove_project(project.name);
  auto noted = removed ? parts_.registry.note(caller.name, "project deleted", project.name) : removed;
  return noted ? http::Response{.status = 204} : error_response(noted.error());
}

// Whether the caller may stop this run; no answer: yes.
std::optional<http::Response> Api::refuse_change(const registry::RunRow& run, const registry::ApiCaller& caller) {
  if (run.project.empty()) {
    return std::nullopt;
  }
  auto found = parts_.registry.projects(run.project);
  if (!found) {
    return error_response(found.error());
  }
  if (found->empty() || may_change(found->front(), caller)) {
    return std::nullopt;
  }
  return not_theirs(found->front());
}

}  // namespace flops::coordinator
