// What the options of the command line are read into, and how commands are added to it.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.hpp"

namespace flops::cli {

// Everything the options are read into, and the command that was chosen.
struct Line {
  Context context;
  TokenOptions token;
  RunOptions run;
  PartitionOptions partition;
  DeviceSelection devices;
  DeviceChange change;
  AccessOptions access;
  AuditOptions audit;
  ProjectOptions project;
  std::string format = "table";
  std::string id;
  std::string file;
  bool best = false;
  std::function<Outcome<>()> command;
};

inline CLI::App* add_group(CLI::App& app, const std::string& name, const std::string& text) {
  CLI::App* group = app.add_subcommand(name, text);
  group->require_subcommand(1);
  group->fallthrough();
  return group;
}

inline CLI::App* add_command(CLI::App& group, Line& line, const std::string& name, const std::string& text,
                             std::function<Outcome<>()> run) {
  CLI::App* command = group.add_subcommand(name, text);
  command->fallthrough();
  command->callback([&line, run = std::move(run)] { line.command = run; });
  return command;
}

void add_project_commands(CLI::App& app, Line& line);
void add_fleet_commands(CLI::App& app, Line& line);  // token, status, device, cluster, access, audit

}  // namespace flops::cli
