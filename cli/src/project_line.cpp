// Options of the commands about projects.
#include "line.hpp"

namespace flops::cli {

namespace {

void add_source(CLI::App& command, ProjectOptions& options) {
  command.add_option("SOURCE", options.place, "Folder, or address of a Git repository")->required();
  command.add_option("--ref", options.ref, "Branch, tag or whole commit id of the repository");
  command.add_option("--set", options.settings, "Set a key of flops.toml, e.g. training.rounds=20")
      ->option_text("KEY=VALUE ...")
      ->expected(1)
      ->take_all();
}

}  // namespace

void add_project_commands(CLI::App& app, Line& line) {
  ProjectOptions& options = line.project;
  CLI::App* project =
      add_group(app, "project", "Projects: what flops.toml asks for, from a folder or a Git repository");
  CLI::App* init = add_command(*project, line, "init", "Write a flops.toml to begin with",
                               [&line] { return init_project(line.context, line.project); });
  init->add_option("FOLDER", options.place, "Where to (this folder)");
  init->add_option("--name", options.name, "Name of the project (the folder's)");
  init->add_option("--model", options.model, "Model of the zoo")->capture_default_str();
  init->add_option("--data", options.data, "Data tag that devices must have")->capture_default_str();
  add_command(*project, line, "models", "List the models that every trainer has",
              [&line] { return list_builtin_models(line.context); });
  add_command(*project, line, "reference", "Print every key of flops.toml with its default",
              [&line] { return manifest_reference(line.context); });
  add_source(
      *add_command(*project, line, "validate", "Tell everything that is wrong with a project; needs no coordinator",
                   [&line] { return validate_project(line.context, line.project); }),
      options);
  CLI::App* submit = add_command(*project, line, "submit", "Train a project",
                                 [&line] { return submit_project(line.context, line.project); });
  add_source(*submit, options);
  submit->add_flag("--watch", options.watch, "Follow the run; exits 6 when it fails or is stopped");
  add_command(*project, line, "list", "List projects", [&line] { return list_projects(line.context); });
  const auto with_name = [&](const char* name, const char* text, std::function<Outcome<>()> run) {
    add_command(*project, line, name, text, std::move(run))->add_option("NAME", line.id, "Project")->required();
  };
  with_name("show", "Show a project and its runs", [&line] { return show_project(line.context, line.id); });
  with_name("watch", "Follow a project's newest run; exits 6 when it fails or is stopped",
            [&line] { return watch_project(line.context, line.id); });
  with_name("stop", "Stop all runs of a project", [&line] { return change_project(line.context, line.id, "stop"); });
  with_name("pause", "Let the runs of a project wait; others go on",
            [&line] { return change_project(line.context, line.id, "pause"); });
  with_name("resume", "Let them go on where they were",
            [&line] { return change_project(line.context, line.id, "resume"); });
  with_name("delete", "Forget a project; its runs and models stay",
            [&line] { return delete_project(line.context, line.id); });
}

}  // namespace flops::cli
