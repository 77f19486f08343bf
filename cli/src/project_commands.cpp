// project init, models, reference, validate, submit, and what becomes of a project.
#include <cctype>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include <boost/json/parse.hpp>

#include "commands.hpp"
#include "flops/core/fd.hpp"
#include "flops/core/file.hpp"
#include "flops/core/id.hpp"
#include "flops/manifest/manifest.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"
#include "output.hpp"
#include "project_files.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

struct Read {
  manifest::Manifest manifest;
  std::string text;
  std::string place;
  std::string commit;  // empty: of a folder
};

// Where the manifest is, as a person would open it.
std::string shown_file(const ProjectOptions& options) {
  const bool folder = !source::is_git_url(options.place) && options.ref.empty();
  return folder ? (std::filesystem::path(options.place) / manifest::file_name).lexically_normal().string()
                : std::string(manifest::file_name);
}

Outcome<Read> read_project(const ProjectOptions& options) {
  auto project = open_project(options.place, options.ref);
  if (!project) {
    return give_up(project.error());
  }
  const std::string file(manifest::file_name);
  auto text = project->files->read(file, manifest::max_bytes);
  if (!text) {
    return give_up(exit_failed, "{}: {}; 'flopsctl project init' writes one", report::printable(project->place),
                   text.error().what);
  }
  auto manifest = manifest::parse(*text, shown_file(options), options.settings);
  if (!manifest) {
    return give_up(exit_failed, "this is no project that can be trained:\n{}", manifest.error().what);
  }
  return Read{*std::move(manifest), *std::move(text), project->place, project->files->commit()};
}

std::string summary(const Read& project) {
  const rounds::RunSpec& run = project.manifest.run;
  return report::details({{"project", project.manifest.name},
                          {"commit", project.commit.empty() ? "- (a folder)" : project.commit},
                          {"model", report::printable(run.model)},
                          {"data", report::printable(run.data)},
                          {"rounds", run.cycles == 1 ? fmt::format("{}", run.rounds)
                                                     : fmt::format("{} cycles of {}", run.cycles, run.rounds)},
                          {"algorithm", run.algorithm.name},
                          {"participants", fmt::format("{} or more", run.min_fit)},
                          {"manifest", manifest::digest(project.manifest).hex()}});
}

// A name that a project may have, from that of its folder.
std::string name_of(const std::filesystem::path& folder) {
  std::string name;
  for (const char c : std::filesystem::absolute(folder).lexically_normal().filename().string()) {
    const auto byte = static_cast<unsigned char>(c);
    name += std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '-';
  }
  name = name.substr(0, manifest::max_name);
  return is_valid_id(name) ? name : "project";
}

Outcome<json::value> change(const Context& context, const std::string& name, const char* verb) {
  if (auto checked = check_id(name); !checked) {
    return give_up(checked.error());
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  return api->post("/v1/projects/" + name + "/" + verb, json::object());
}

}  // namespace

Outcome<> init_project(const Context& /*context*/, const ProjectOptions& options) {
  const std::filesystem::path folder = options.place.empty() ? "." : options.place;
  const std::string name = options.name.empty() ? name_of(folder) : options.name;
  const std::string text = manifest::skeleton(name, options.model, options.data);
  const std::filesystem::path file = (folder / manifest::file_name).lexically_normal();
  if (auto checked = manifest::parse(text, file.string()); !checked) {
    return give_up(exit_usage, "{}", checked.error().what);
  }
  if (auto made = make_folder(folder); !made) {
    return give_up(exit_failed, "{}", made.error().what);
  }
  // Never over a manifest that is there, not even one that appears just now.
  const Fd created(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!created.valid()) {
    return errno == EEXIST ? give_up(exit_failed, "{} is there already", file.string())
                           : give_up(exit_failed, "{}: {}", file.string(), std::strerror(errno));
  }
  if (auto written = replace_file(file, text); !written) {
    (void)::unlink(file.c_str());  // the empty one
    return give_up(exit_failed, "{}", written.error().what);
  }
  return print(
      fmt::format("{} is written. Next:\n  flopsctl project validate {}\n  flopsctl project submit {} --watch\n",
                  file.string(), folder.string(), folder.string()));
}

Outcome<> list_builtin_models(const Context& context) {
  std::string text;
  json::array names;
  for (const std::string_view name : manifest::builtin_models()) {
    text += fmt::format("{}\n", name);
    names.emplace_back(json::string_view(name.data(), name.size()));
  }
  return context.format == Format::json ? print_json(json::object{{"models", std::move(names)}}) : print(text);
}

Outcome<> manifest_reference(const Context& /*context*/) {
  return print(manifest::reference());
}

Outcome<> validate_project(const Context& context, const ProjectOptions& options) {
  const auto project = read_project(options);
  if (!project) {
    return give_up(project.error());
  }
  if (context.format == Format::json) {
    return print_json(json::object{{"name", project->manifest.name},
                                   {"commit", project->commit},
                                   {"manifest", manifest::digest(project->manifest).hex()},
                                   {"spec", json::parse(rounds::to_json(project->manifest.run))}});
  }
  return print(summary(*project));
}

Outcome<> submit_project(const Context& context, const ProjectOptions& options) {
  const auto api = context.api();  // before a repository is fetched for nothing
  if (!api) {
    return give_up(api.error());
  }
  const auto project = read_project(options);
  if (!project) {
    return give_up(project.error());
  }
  json::array settings(options.settings.begin(), options.settings.end());
  const auto run =
      api->post("/v1/projects", json::object{{"manifest", project->text},
                                             {"settings", std::move(settings)},
                                             {"source", {{"place", project->place}, {"commit", project->commit}}}});
  if (!run) {
    return give_up(run.error());
  }
  return tell_started(context, *run, fmt::format("project {}: ", project->manifest.name), options.watch);
}

Outcome<> list_projects(const Context& context) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->get("/v1/projects");
  return answer ? show(context, *answer, report::projects_table) : give_up(answer.error());
}

Outcome<> show_project(const Context& context, const std::string& name) {
  if (auto checked = check_id(name); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto project = api->get("/v1/projects/" + name);
  return project ? show(context, *project, report::project_details) : give_up(project.error());
}

Outcome<> change_project(const Context& context, const std::string& name, const char* verb) {
  const auto project = change(context, name, verb);
  return project ? show(context, *project, report::project_details) : give_up(project.error());
}

Outcome<> delete_project(const Context& context, const std::string& name) {
  if (auto checked = check_id(name); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  if (auto removed = api->remove("/v1/projects/" + name); !removed) {
    return removed;
  }
  return print(fmt::format("project {} is deleted; its runs and models stay\n", name));
}

// Its newest run.
Outcome<> watch_project(const Context& context, const std::string& name) {
  if (auto checked = check_id(name); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto project = api->get("/v1/projects/" + name);
  if (!project) {
    return give_up(project.error());
  }
  const json::array& runs = report::array_field(*project, "runs");
  const auto id = runs.empty() ? std::nullopt : report::text_field(runs.front(), "id");
  return id ? watch_run(context, *id) : give_up(exit_not_found, "project {} has no run", name);
}

}  // namespace flops::cli
