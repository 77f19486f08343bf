#include <limits>

#include <doctest/doctest.h>
#include <boost/json/parse.hpp>

#include "flops/report/table.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"

namespace flops::report {
namespace {

namespace json = boost::json;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("table: columns are aligned, numbers to the right, without trailing blanks") {
  Table table({{"NAME"}, {"COUNT", Align::right}, {"NOTE"}});
  table.add({"a", "7", "first"});
  table.add({"longer", "12345", ""});
  table.add({"only a name"});
  CHECK(table.text() ==
        "NAME         COUNT  NOTE\n"
        "a                7  first\n"
        "longer       12345\n"
        "only a name\n");
}

TEST_CASE("table: rows printed one by one keep the width of the header") {
  const Table table({{"ROUND", Align::right}, {"LOSS", Align::right, 8}});
  CHECK(table.header() == "ROUND      LOSS\n");
  CHECK(table.row({"1", "0.5"}) == "    1       0.5\n");
  CHECK(table.row({"1234567", "0.5"}) == "1234567       0.5\n");
}

TEST_CASE("table: characters of several bytes count once") {
  Table table({{"A"}, {"B"}});
  table.add({"\u00e9\u00e9", "x"});
  table.add({"abc", "y"});
  CHECK(table.text() == "A    B\n\u00e9\u00e9   x\nabc  y\n");
}

TEST_CASE("details: values stand below each other") {
  CHECK(details({{"run", "run-1"}, {"state", "finished"}, {"empty", ""}}) ==
        "run:    run-1\nstate:  finished\nempty:\n");
}

TEST_CASE("text: what could steer a terminal is made harmless") {
  struct Row {
    const char* name;
    std::string input;
    std::string output;
  };
  const std::vector<Row> rows{
      {"plain", "device-1", "device-1"},
      {"umlaut", "Gr\u00fc\u00dfe", "Gr\u00fc\u00dfe"},
      {"escape sequence", "\x1b[2Jgone", "?[2Jgone"},
      {"line break", "a\nb\rc\td", "a?b?c?d"},
      {"delete", "\x7f", "?"},
      {"C1 control in UTF-8", "\u009b31m", "??31m"},
      {"right-to-left override", "a\u202Eb", "a???b"},
      {"overlong slash", "\xc0\xaf", "??"},
      {"surrogate", "\xed\xa0\x80", "???"},
      {"cut off", "a\xe2\x82", "a??"},
      {"stray continuation", "\x80", "?"},
      {"beyond Unicode", "\xf5\x80\x80\x80", "????"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(printable(row.input) == row.output);
  }
}

TEST_CASE("text: sizes and numbers") {
  CHECK(bytes_text(0) == "0 B");
  CHECK(bytes_text(1023) == "1023 B");
  CHECK(bytes_text(1536) == "1.5 KiB");
  CHECK(bytes_text(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(bytes_text(6'653'480) == "6.3 MiB");
  CHECK(bytes_text(std::numeric_limits<std::uint64_t>::max()) == "16.0 EiB");
  CHECK(fixed_text(0.87125, 3) == "0.871");
  CHECK(fixed_text(std::numeric_limits<double>::quiet_NaN(), 3) == "-");
}

TEST_CASE("views: a run with its rounds") {
  const json::value run = json::parse(R"({"id": "run-1", "state": "finished", "model_name": "cnn-small", "round": 2,
    "rounds_total": 2, "accuracy": 0.871234, "loss": 0.4, "bytes_up": 2048, "bytes_down": 0, "created_at": 1700000000000,
    "best": {"metric": "accuracy", "value": 0.8, "round": 1, "model_digest": "abcd"},
    "rounds": [{"round": 1, "accuracy": 0.8, "loss": 0.5, "participants": 5, "late": 1, "dropped": 2, "bytes_up": 1024, "bytes_down": 10,
                "seconds": 1.234}, {"round": 2, "accuracy": null, "loss": null}]})");
  const std::string text = run_details(run);
  CHECK(has(text, "best model:  abcd, of round 1, by accuracy 0.8000\n"));
  CHECK(has(text, "round:       2/2\n"));
  CHECK(has(text, "origin:      -\n"));
  CHECK(has(text, "accuracy:    0.8712\n"));
  CHECK(has(text, "2023-11-14T22:13:20Z"));
  CHECK(has(text, "    1    0.8000    0.5000             5     1        2     1.0 KiB        10 B     1.23\n"));
  CHECK(has(text, "    2         -         -             -     -        -           -           -        -\n"));
}

TEST_CASE("views: a run of a project, and the devices that it leaves out") {
  const std::string text = run_details(json::parse(
      R"({"id":"run-1","project":"p","place":"https://example.org/x","commit":"0123456789abcdef",
          "left_out":[{"device":"pi-1","reason":"512 MiB of memory,\n1024 are wanted"}]})"));
  CHECK(text.find("p, https://example.org/x at 0123456789ab\n") != std::string::npos);
  CHECK(text.find("pi-1      512 MiB of memory,?1024 are wanted") != std::string::npos);
  CHECK(run_details(json::parse(R"({"id":"run-1","left_out":[]})")).find("LEFT OUT") == std::string::npos);
}

TEST_CASE("views: a run that is a part of another coordinator's") {
  const char* run = R"({"id": "run-7", "state": "finished", "round": 5, "rounds_total": 5, "origin": "run-2.r5.0a1b",
    "part": "train"})";
  CHECK(has(run_details(json::parse(run)), "origin:      run-2.r5.0a1b (train)\n"));
  const std::string table =
      runs_table(json::parse(R"({"runs": [)" + std::string(run) + R"(, {"id": "run-6", "origin": null}]})"));
  CHECK(has(table, "  run-2.r5.0a1b (train)\n"));
  CHECK(has(table, "ORIGIN\n"));
}

TEST_CASE("views: clusters, in a run and alone") {
  const char* north =
      R"({"cluster": "north", "run": "run-1", "state": "skipped", "reason": "1 of 2 devices", "round": 0,
    "devices_online": 1, "participants": 0, "accuracy": 0.5, "accuracy_min": 0.25, "accuracy_max": 0.75, "loss": null,
    "bytes_up": 1024, "bytes_down": 0, "devices": [{"id": "device-1", "online": true}],
    "rounds": [{"round": 7, "participants": 2}]})";
  const std::string table =
      clusters_table(json::parse(R"({"run": "run-1", "clusters": [)" + std::string(north) + "]}"));
  CHECK(has(table,
            "north    skipped      0       1             0    0.5000     -   1.0 KiB         0 B  1 of 2 devices\n"));
  const std::string run = run_details(json::parse(R"({"id": "run-1", "clusters": [)" + std::string(north) + "]}"));
  CHECK(has(run, "best model:  -\n"));
  CHECK(has(run, "\n" + table));
  const std::string details = cluster_details(json::parse(north));
  CHECK(has(details, "accuracy of devices:  0.2500 to 0.7500\n"));
  CHECK(has(details, "device device-1:      online\n"));
  CHECK_FALSE(has(details, "measured by"));
  const std::string site = R"({"cluster": "s1", "state": "fitting", "online": true, "bytes_up": 10, "bytes_down": null,
    "participants": null, "devices_online": null, "evaluated_devices": 4})";
  CHECK(has(cluster_details(json::parse(site)), "measured by:          4 devices\n"));
  CHECK(has(clusters_table(json::parse(R"({"clusters": [)" + site + "]}")), "s1       fitting"));
  CHECK(has(details, "    7         -"));
}

TEST_CASE("views: devices, tokens and models") {
  const std::string devices =
      devices_table(json::parse(R"({"devices": [{"id": "device-1", "role": "cluster", "state": "enrolled",
    "online": true, "datasets": [{"tag": "a"}, {"tag": "b"}], "last_seen": "2023-11-14T22:13:20Z"}]})"));
  CHECK(has(devices,
            "device-1  cluster  enrolled  online  -       -         a,b   -     -        2023-11-14T22:13:20Z\n"));
  CHECK(has(devices_table(json::parse(R"({"devices": [{"id": "device-2", "activity": "training", "paused": "why"}]})")),
            "  training (paused)  "));
  const std::string device = device_details(json::parse(R"({"id": "device-1", "online": false, "memory_bytes": 1024,
    "activity": "idle", "paused": "",
    "labels": {"site": "north"}, "datasets": [{"tag": "a", "train_samples": 10, "test_samples": 2}]})"));
  CHECK(has(device, "online:             offline\n"));
  CHECK(has(device, "role:               -\n"));
  CHECK(has(device, "activity:           idle\n"));
  CHECK(has(device, "paused:             -\n"));
  CHECK(has(device_details(json::parse(R"({"paused": "temperature 81 C is above 80 C"})")),
            "temperature 81 C is above 80 C\n"));
  CHECK(has(device, "data a:             10 train, 2 test\n"));
  CHECK(has(device, "label site:         north\n"));
  const std::string sick = R"({"id": "d", "version": "9", "health": [{"name": "storage", "text": "disk is full"},
    {"name": "clock", "text": "\u001b[1m1970"}]})";
  CHECK(has(devices_table(json::parse(R"({"devices": [)" + sick + "]}")), "  storage,clock  "));
  CHECK(has(devices_table(json::parse(R"({"devices": [{"id": "d", "health": []}]})")), "  ok  "));
  for (const std::string& shown : {device_details(json::parse(sick)), status_details(json::parse(sick))}) {
    CHECK(has(shown, "health: storage:"));
    CHECK(has(shown, "disk is full\n"));
    CHECK(has(shown, "?[1m1970\n"));
  }
  CHECK(has(status_details(json::parse(R"({"version": "9", "uptime_seconds": 7, "health": []})")), "ok\n"));
  CHECK(has(status_details(json::parse("{}")), "health:          -\n"));
  const std::string tokens = tokens_table(json::parse(
      R"({"tokens": [{"id": "t1", "role": "cluster", "uses_left": 3, "note": "shelf\u001b[1m"}, {"id": 17}]})"));
  CHECK(has(tokens, "\n17 "));
  CHECK(has(tokens, "t1  cluster          3  any  -        -        shelf?[1m\n"));
  CHECK(has(tokens_table(json::parse(R"({"tokens": [{"id": 1, "approve": true}]})")), "after approval"));
  CHECK(has(tokens_table(json::parse(R"({"tokens": [{"id": 1, "approve": true, "device": "pi-1"}]})")), "  pi-1  "));
  const std::string models = models_table(
      json::parse(R"({"models": [{"digest": "0123456789abcdef", "run": "run-1", "round": 3, "bytes": 4096}]})"));
  CHECK(has(models, "0123456789ab  run-1      3"));
}

TEST_CASE("views: answers of another shape never break a table") {
  for (const char* text :
       {"{}", "[]", "null", R"({"runs": 7, "devices": {}, "tokens": "x", "models": null})",
        R"({"runs": [1, null, []], "devices": [[]], "tokens": [false], "models": ["x"],
                               "rounds": [0], "labels": []})",
        R"({"runs": [{"id": 7, "round": "x", "accuracy": {}, "bytes_up": -1, "created_at": 1e99}]})"}) {
    CAPTURE(text);
    const json::value value = json::parse(text);
    CHECK(has(runs_table(value), "RUN"));
    CHECK(has(devices_table(value), "DEVICE"));
    CHECK(has(tokens_table(value), "USES LEFT"));
    CHECK(has(models_table(value), "MODEL"));
    CHECK(has(run_details(value), "state"));
    CHECK(has(device_details(value), "state"));
  }
}

}  // namespace
}  // namespace flops::report
