// Projects: who owns them, and which runs are theirs.
#include <sstream>

#include <fmt/ranges.h>

#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {
namespace {

using store::Row;

// Tags have no line breaks: who writes them has checked that.
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

Result<RunId> Registry::add_run(const rounds::RunSpec& spec, const ProjectRow& project, const RunSource& source) {
  RunId id;
  auto added = database_.transaction([&]() -> Result<> {
    const std::string tags = fmt::format("{}", fmt::join(project.tags, "\n"));
    auto written = database_.run(
        "INSERT INTO projects(name, owner, description, tags, created_at) VALUES(?, ?, ?, ?, ?) "
        "ON CONFLICT(name) DO UPDATE SET description = excluded.description, tags = excluded.tags",
        {project.name, project.owner, project.description, tags, now()});
    if (!written) {
      return written;
    }
    if (auto inserted = insert_run(spec, id); !inserted) {
      return inserted;
    }
    const std::string manifest = hex_or_empty(source.manifest);
    return database_.run("UPDATE runs SET project = ?, source = ?, source_commit = ?, manifest = ? WHERE id = ?",
                         {project.name, source.place, source.commit, manifest, id.str()});
  });
  if (!added) {
    return fail(added.error());
  }
  return id;
}

Result<std::vector<ProjectRow>> Registry::projects(std::string_view only) {
  std::vector<ProjectRow> rows;
  auto read = database_.each(
      "SELECT name, owner, description, tags, created_at FROM projects WHERE ?1 = '' OR name = ?1 ORDER BY name",
      {only}, [&](const Row& row) -> Result<> {
        rows.push_back({row.text(0), row.text(1), row.text(2), lines_of(row.text(3)), row.integer(4)});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<> Registry::remove_project(std::string_view name) {
  return database_.transaction([&]() -> Result<> {
    auto kept = database_.run("UPDATE runs SET project = '', revision = revision + 1 WHERE project = ?", {name});
    return kept ? database_.run("DELETE FROM projects WHERE name = ?", {name}) : kept;
  });
}

Result<> Registry::set_paused(const RunId& run, bool paused) {
  return database_.run("UPDATE runs SET paused = ?, revision = revision + 1 WHERE id = ?", {paused ? 1 : 0, run.str()});
}

Result<std::vector<RunId>> Registry::paused_runs() {
  std::vector<RunId> runs;
  auto read =
      database_.each("SELECT id FROM runs WHERE paused = 1 AND finished_at = 0", {}, [&](const Row& row) -> Result<> {
        auto id = RunId::parse(row.text(0));
        if (!id) {
          return fail(ErrorKind::corrupt, "the record of run '{}' is not readable", row.text(0));
        }
        runs.push_back(*std::move(id));
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return runs;
}

}  // namespace flops::registry
