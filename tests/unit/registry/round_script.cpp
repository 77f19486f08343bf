#include "round_script.hpp"

#include <doctest/doctest.h>

#include <memory>

#include <sqlite3.h>

#include "flops/crypto/digest.hpp"

namespace flops::registry::testing {
namespace {

using rounds::Answer;
using rounds::Phase;

const RunId run = RunId::parse("run-1").value();
const DeviceId devices[] = {DeviceId::parse("d-1").value(), DeviceId::parse("d-2").value()};
constexpr const char* layout = R"([["w",[300,999]],["b",[300]]])";

rounds::RunSpec spec() {
  rounds::RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  spec.rounds = 1;
  return spec;
}

Digest digest(const std::string& text) {
  return crypto::sha256(text);
}

TaskId task(const char* kind, const DeviceId& device) {
  return rounds::task_id(run, kind, 1, device);
}

rounds::RunState state(Phase phase, std::int64_t round, const char* model) {
  rounds::RunState state;
  state.id = run;
  state.spec = spec();
  state.phase = phase;
  state.round = round;
  state.model = *model == '\0' ? Digest() : digest(model);
  state.wanted = round == 0 ? 0 : 2;
  return state;
}

// The devices up to `answered` have answered.
rounds::RunState with_tasks(rounds::RunState state, const char* kind, wire::TaskKind what, std::size_t answered) {
  for (std::size_t n = 0; n < std::size(devices); ++n) {
    const Answer answer = n < answered ? Answer::contributed : Answer::none;
    state.participants[devices[n]] = {task(kind, devices[n]), what, answer, state.round, state.model};
  }
  return state;
}

ModelRow model_row(const char* name, std::int64_t round) {
  return {digest(name), run, round, digest(layout), 300'000, 1'200'500, 0};
}

Result<> expect_true(const Result<bool>& outcome, const char* what) {
  if (!outcome) {
    return fail(outcome.error());
  }
  return *outcome ? Result<>() : fail(ErrorKind::bug, "{}", what);
}

Result<> enrol(Registry& registry, const DeviceId& device) {
  const auto issue = [&] {
    return Result<IssuedCertificate>(IssuedCertificate{"serial-" + device.str(), 1, INT64_MAX / 2, "pem"});
  };
  const auto outcome = registry.enrol(digest("token"), {device, "key-" + device.str()}, issue);
  return expect_true(outcome ? Result<bool>(outcome->outcome == Enrolment::done) : fail(outcome.error()),
                     "not enrolled");
}

void enrol_devices(std::vector<Call>& script) {
  script.push_back({"port", true, [](Registry& registry) { return registry.set_meta("port", "8883"); }});
  script.push_back({"API token", true,
                    [](Registry& registry) { return registry.add_api_token(digest("api"), Role::admin, "admin"); }});
  script.push_back({"enrolment token", true, [](Registry& registry) -> Result<> {
                      const auto added = registry.add_enrolment_token({digest("token"), 2, INT64_MAX, "two"});
                      return added ? Result<>() : fail(added.error());
                    }});
  for (const DeviceId& device : devices) {
    script.push_back({"enrol", true, [device](Registry& registry) { return enrol(registry, device); }});
    script.push_back({"hello", false, [device](Registry& registry) {
                        wire::Hello hello;
                        hello.session = "s";
                        hello.labels = {{"site", std::string(500, 'x')}};
                        return registry.save_hello(device, hello);
                      }});
  }
}

void initialise(std::vector<Call>& script) {
  script.push_back({"add run", true, [](Registry& registry) -> Result<> {
                      const auto added = registry.add_run(spec());
                      return expect_true(added ? Result<bool>(*added == run) : fail(added.error()), "another run");
                    }});
  script.push_back({"initialising", false, [](Registry& registry) {
                      rounds::RunState now = state(Phase::initialising, 0, "");
                      now.participants[devices[0]] = {task("i", devices[0]), wire::TaskKind::init, Answer::none};
                      return registry.save_run(now);
                    }});
  script.push_back({"layout", true, [](Registry& registry) { return registry.set_run_layout(run, layout, 300'000); }});
  script.push_back({"first model", true, [](Registry& registry) { return registry.add_model(model_row("first", 0)); }});
}

void fit(std::vector<Call>& script) {
  script.push_back({"fitting", false, [](Registry& registry) {
                      return registry.save_run(
                          with_tasks(state(Phase::fitting, 1, "first"), "r", wire::TaskKind::train, 0));
                    }});
  script.push_back({"open round", false, [](Registry& registry) { return registry.open_round(run, 1); }});
  for (std::size_t n = 0; n < std::size(devices); ++n) {
    const DeviceId& device = devices[n];
    script.push_back({"download", false, [](Registry& registry) { return registry.count_download(run, 1, 700'000); }});
    script.push_back({"rejected", false, [](Registry& registry) { return registry.count_rejected(run, 1); }});
    script.push_back({"contribution", false, [device](Registry& registry) {
                        const ContributionRow row{
                            device, task("r", device), digest("update of " + device.str()), 900'000, 40, 0.5, 2.0,
                            1,      digest("first")};
                        return expect_true(registry.add_contribution(run, 1, row), "counted already");
                      }});
    script.push_back({"answer", false, [n](Registry& registry) {
                        const auto now =
                            with_tasks(state(Phase::fitting, 1, "first"), "r", wire::TaskKind::train, n + 1);
                        return registry.save_participant(now, devices[n]);
                      }});
    script.push_back({"receipt", true, [](Registry& registry) { return registry.sync(); }});
  }
}

void aggregate_and_evaluate(std::vector<Call>& script) {
  script.push_back({"aggregating", false, [](Registry& registry) {
                      return registry.save_run(
                          with_tasks(state(Phase::aggregating, 1, "first"), "r", wire::TaskKind::train, 2));
                    }});
  script.push_back(
      {"aggregating round", false, [](Registry& registry) { return registry.set_round_state(run, 1, "aggregating"); }});
  script.push_back({"close round", true,
                    [](Registry& registry) { return registry.close_round(run, 1, 12.5, model_row("second", 1)); }});
  script.push_back({"dropped", false, [](Registry& registry) { return registry.count_dropped(run, 1, 1); }});
  script.push_back({"evaluating", false, [](Registry& registry) {
                      return registry.save_run(
                          with_tasks(state(Phase::evaluating, 1, "second"), "e", wire::TaskKind::evaluate, 0));
                    }});
  for (std::size_t n = 0; n < std::size(devices); ++n) {
    script.push_back({"metrics", false, [n](Registry& registry) {
                        const wire::Metrics metrics{
                            {task("e", devices[n]), run, 1, 1}, digest("second"), 10, 0.3, 0.9, 0.1};
                        return registry.save_metrics(run, 1, devices[n], metrics);
                      }});
    script.push_back({"evaluated", false, [n](Registry& registry) {
                        const auto now =
                            with_tasks(state(Phase::evaluating, 1, "second"), "e", wire::TaskKind::evaluate, n + 1);
                        return registry.save_participant(now, devices[n]);
                      }});
    script.push_back({"seen", false, [n](Registry& registry) { return registry.save_seen(devices[n]); }});
  }
  script.push_back({"round done", false, [](Registry& registry) { return registry.set_round_state(run, 1, "done"); }});
  script.push_back(
      {"finished", true, [](Registry& registry) { return registry.save_run(state(Phase::finished, 1, "second")); }});
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) {
    REQUIRE(sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
    // The last one to close a database empties its log, which is not this reader's to do.
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  ~Reader() { sqlite3_close(db_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // One line a row.
  [[nodiscard]] std::vector<std::string> lines(const std::string& sql) {
    std::vector<std::string> found;
    sqlite3_stmt* statement = nullptr;
    REQUIRE_MESSAGE(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK, sqlite3_errmsg(db_));
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      std::string line;
      for (int column = 0; column < sqlite3_column_count(statement); ++column) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
        line += (column == 0 ? "" : "|") + (text == nullptr ? std::string("NULL") : std::string(text));
      }
      found.push_back(line);
    }
    sqlite3_finalize(statement);
    REQUIRE(code == SQLITE_DONE);
    return found;
  }

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace

std::vector<Call> round_script() {
  std::vector<Call> script;
  enrol_devices(script);
  initialise(script);
  fit(script);
  aggregate_and_evaluate(script);
  return script;
}

std::string content_of(const std::filesystem::path& file) {
  Reader reader(file);
  std::string content;
  for (const std::string& table : reader.lines("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")) {
    content += table + "\n";
    for (const std::string& line : reader.lines(fmt::format("SELECT * FROM \"{}\" ORDER BY 1, 2", table))) {
      content += "  " + line + "\n";
    }
  }
  return content;
}

std::string damage_of(const std::filesystem::path& file) {
  Reader reader(file);
  std::string damage;
  for (const std::string& line : reader.lines("PRAGMA integrity_check")) {
    damage += line == "ok" ? "" : line + "\n";
  }
  for (const std::string& line : reader.lines("PRAGMA foreign_key_check")) {
    damage += "foreign key: " + line + "\n";
  }
  return damage;
}

}  // namespace flops::registry::testing
