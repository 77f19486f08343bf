#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <vector>

#include "flops/agent_governor/governor.hpp"

using namespace flops;
using namespace flops::agent;
using namespace std::chrono_literals;

namespace {

constexpr LocalTime noon{true, 2, 720};

Readings hot(double celsius) {
  Readings readings;
  readings.temperature = celsius;
  return readings;
}

Readings pressed(double percent) {
  Readings readings;
  readings.memory_pressure = percent;
  return readings;
}

Readings battery(std::optional<std::int64_t> percent, std::optional<bool> on_mains) {
  Readings readings;
  readings.battery_percent = percent;
  readings.on_mains = on_mains;
  return readings;
}

Readings over(const char* interface) {
  Readings readings;
  readings.interface = interface;
  return readings;
}

// A machine with processor time to account for: 200 ticks a second.
struct Machine {
  Readings readings;
  SteadyTime now{1h};

  Machine() { readings.cpu = CpuTimes{1000, 500, 300}; }
  const Readings& after(std::chrono::milliseconds time, int others, int own) {
    now += time;
    readings.cpu->total += static_cast<std::uint64_t>(time.count()) / 5;
    readings.cpu->busy += static_cast<std::uint64_t>(others + own);
    readings.cpu->own += static_cast<std::uint64_t>(own);
    return readings;
  }
};

}  // namespace

TEST_CASE("governor: with the defaults an ordinary machine trains, and so does one that says nothing") {
  Governor governor{Conditions()};
  Readings readings;
  CHECK(governor.judge(readings, SteadyTime(1h), noon).run());
  readings.temperature = 55;
  readings.cpu = CpuTimes{1000, 900, 0};
  readings.memory_pressure = 3;
  readings.interface = "wwan0";
  CHECK(governor.judge(readings, SteadyTime(1h + 1s), noon).run());
  readings.cpu = CpuTimes{1200, 1100, 0};
  CHECK(governor.judge(readings, SteadyTime(1h + 2s), {false, 0, 0}).run());
}

TEST_CASE("governor: a limit that was crossed objects until the value is clearly on the other side again") {
  struct Step {
    Readings readings;
    const char* reason;  // empty: it trains
  };
  struct Row {
    const char* name;
    std::function<void(Conditions&)> change;
    std::vector<Step> steps;
  };
  const std::vector<Row> rows = {
      {"temperature",
       [](Conditions&) {},
       {{hot(80), ""},
        {hot(81), "temperature 81 C is above 80 C"},
        {hot(84), "temperature 81 C is above 80 C"},
        {hot(76), "temperature 81 C is above 80 C"},
        {hot(75), ""},
        {hot(80), ""}}},
      {"any temperature", [](Conditions& c) { c.max_temperature = 0; }, {{hot(120), ""}}},
      {"a sensor that falls silent", [](Conditions&) {}, {{hot(90), "temperature 90 C is above 80 C"}, {{}, ""}}},
      {"memory",
       [](Conditions&) {},
       {{pressed(20), ""},
        {pressed(20.01), "programs wait for memory 21 % of the time, more than 20 %"},
        {pressed(10.5), "programs wait for memory 21 % of the time, more than 20 %"},
        {pressed(10), ""}}},
      {"any memory pressure", [](Conditions& c) { c.max_memory_pressure = 100; }, {{pressed(100), ""}}},
      {"battery",
       [](Conditions&) {},
       {{battery(50, false), ""},
        {battery(49, false), "battery at 49 % is below 50 %"},
        {battery(54, false), "battery at 49 % is below 50 %"},
        {battery(55, false), ""},
        {battery(49, false), "battery at 49 % is below 50 %"},
        {battery(49, true), ""},
        {battery(10, std::nullopt), ""},
        {battery(std::nullopt, false), ""}}},
      {"a battery that must be nearly full",
       [](Conditions& c) { c.min_battery = 98; },
       {{battery(97, false), "battery at 97 % is below 98 %"},
        {battery(99, false), "battery at 97 % is below 98 %"},
        {battery(100, false), ""}}},
      {"only on mains",
       [](Conditions& c) { c.min_battery = 100; },
       {{battery(100, false), "the device runs on its battery"}, {battery(3, true), ""}, {battery({}, {}), ""}}},
      {"any battery", [](Conditions& c) { c.min_battery = 0; }, {{battery(1, false), ""}, {battery(0, false), ""}}},
      {"metered link",
       [](Conditions& c) { c.pause_when_metered = true; },
       {{over("wwan0"), "the link wwan0 is metered"}, {over("eth0"), ""}, {{}, ""}}},
      {"metered link, training allowed", [](Conditions&) {}, {{over("wwan0"), ""}}},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      Conditions conditions;
      row.change(conditions);
      Governor governor(conditions);
      SteadyTime now(1h);
      std::size_t number = 0;
      for (const Step& step : row.steps) {
        CAPTURE(number++);
        now += 1s;
        const Verdict& verdict = governor.judge(step.readings, now, noon);
        CHECK(verdict.reason == step.reason);
        CHECK(verdict.run() == (*step.reason == '\0'));
      }
    }
  }
}

TEST_CASE("governor: the work of other programs counts, training itself does not") {
  Conditions conditions;
  conditions.max_other_load = 60;
  Governor governor(conditions);
  Machine machine;
  const auto judge = [&](const Readings& readings) { return governor.judge(readings, machine.now, noon).reason; };
  CHECK(judge(machine.after(1s, 0, 0)).empty());      // no second reading to compare with
  CHECK(judge(machine.after(1s, 0, 200)).empty());    // all of both processors, and all ours
  CHECK(judge(machine.after(1s, 100, 100)).empty());  // 50 %
  CHECK(judge(machine.after(1s, 130, 70)) == "other programs use 65 % of the processors, more than 60 %");
  CHECK_FALSE(judge(machine.after(1s, 110, 0)).empty());  // 55 %: not clearly below
  CHECK(judge(machine.after(1s, 100, 0)).empty());
  CHECK(judge(machine.after(100ms, 20, 0)).empty());  // too short to say anything
  CHECK(judge(machine.after(900ms, 120, 0)) == "other programs use 70 % of the processors, more than 60 %");
  machine.readings.cpu.reset();
  CHECK(judge(machine.readings).empty());
}

TEST_CASE("load: counters that stand still, go back or contradict each other are no load") {
  struct Row {
    const char* name;
    CpuTimes before;
    CpuTimes after;
    std::optional<double> percent;
  };
  constexpr std::uint64_t most = ~std::uint64_t{0};
  for (const Row& row : {Row{"half", {100, 50, 10}, {200, 110, 20}, 50},
                         Row{"stopped", {100, 50, 10}, {100, 50, 10}, {}}, Row{"back", {100, 50, 10}, {50, 20, 0}, {}},
                         Row{"more of our own than of all", {100, 50, 10}, {200, 60, 80}, 0},
                         Row{"our own went away", {100, 50, 10}, {200, 60, 0}, 10},
                         Row{"busier than the time that passed", {100, 50, 10}, {101, 90, 10}, 100},
                         Row{"huge", {0, 0, 0}, {most, most, 0}, 100}}) {
    CAPTURE(row.name);
    LoadMeter meter;
    CHECK_FALSE(meter.update(row.before, SteadyTime(1h)).has_value());
    CHECK(meter.update(row.after, SteadyTime(1h + 1s)) == row.percent);
  }
}

TEST_CASE("governor: outside the time windows, and without a clock to tell, the device waits") {
  Conditions conditions;
  conditions.time_windows = {parse_time_window("22:00-06:00").value(),
                             parse_time_window("sat,sun 00:00-24:00").value()};
  Governor governor(conditions);
  struct Row {
    const char* name;
    LocalTime local;
    const char* reason;
  };
  const char* outside = "it is outside the times of day for training";
  for (const Row& row :
       {Row{"noon", noon, outside}, Row{"night", {true, 2, 1380}, ""}, Row{"Sunday", {true, 6, 720}, ""},
        Row{"Monday", {true, 0, 720}, outside},
        Row{"no clock", {false, 6, 720}, "the clock is not set, and training is limited to times of day"}}) {
    CAPTURE(row.name);
    Governor fresh(conditions);
    CHECK(fresh.judge({}, SteadyTime(1h), row.local).reason == row.reason);
  }
}

TEST_CASE("governor: the first cause stays the reason as long as it objects, then comes the next") {
  Conditions conditions;
  conditions.pause_when_metered = true;
  Governor governor(conditions);
  Readings readings = over("wwan0");
  CHECK(governor.judge(readings, SteadyTime(1h), noon).cause == Cause::link);
  readings.temperature = 90;
  CHECK(governor.judge(readings, SteadyTime(1h), noon).cause == Cause::link);
  readings.interface = "eth0";
  CHECK(governor.judge(readings, SteadyTime(1h), noon).reason == "temperature 90 C is above 80 C");
  CHECK(governor.verdict().cause == Cause::temperature);
}

TEST_CASE("governor: after a pause everything has to be good for as long as the owner wants") {
  Conditions conditions;
  conditions.resume_after = 10s;
  Governor governor(conditions);
  struct Row {
    std::chrono::seconds at;
    double celsius;
    bool run;
  };
  for (const Row& row :
       {Row{0s, 60, true}, Row{1s, 81, false}, Row{5s, 75, false}, Row{14s, 60, false}, Row{14s, 81, false},
        Row{20s, 60, false}, Row{29s, 60, false}, Row{30s, 60, true}, Row{31s, 79, true}}) {
    CAPTURE(row.at.count());
    CHECK(governor.judge(hot(row.celsius), SteadyTime(1h + row.at), noon).run() == row.run);
  }
}

TEST_CASE("local time: it is of the machine's zone, and a clock from before this program is not set") {
  struct Row {
    const char* zone;
    std::int64_t unix_seconds;
    LocalTime local;
  };
  const char* before = std::getenv("TZ");
  const std::string kept = before != nullptr ? before : "";
  for (const Row& row : {Row{"UTC0", 1'795'521'600, {true, 1, 720}},      // 2026-11-24, a Tuesday, 12:00
                         Row{"EST5", 1'795'521'600, {true, 1, 420}},      // 07:00
                         Row{"NZST-12", 1'795'521'600, {true, 2, 0}},     // Wednesday, 00:00
                         Row{"UTC0", 1'795'910'399, {true, 5, 1439}},     // Saturday, 23:59
                         Row{"UTC0", 1'795'996'740, {true, 6, 1439}}}) {  // Sunday
    CAPTURE(row.zone);
    ::setenv("TZ", row.zone, 1);
    const LocalTime local = local_time(WallTime(std::chrono::seconds(row.unix_seconds)));
    CHECK(local.set);
    CHECK(local.weekday == row.local.weekday);
    CHECK(local.minute == row.local.minute);
  }
  for (const std::int64_t unset : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{1'700'000'000}}) {
    CHECK_FALSE(local_time(WallTime(std::chrono::seconds(unset))).set);
  }
  if (before != nullptr) {
    ::setenv("TZ", kept.c_str(), 1);
  } else {
    ::unsetenv("TZ");
  }
}
