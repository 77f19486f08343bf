#include <doctest/doctest.h>

#include "flops/agent_governor/conditions.hpp"

using namespace flops;
using namespace flops::agent;

TEST_CASE("time window: what can be written is read, and written again") {
  struct Row {
    const char* text;
    TimeWindow window;
    const char* again;
  };
  for (const Row& row :
       {Row{"22:00-06:00", {0x7F, 1320, 360}, "22:00-06:00"}, Row{"00:00-24:00", {0x7F, 0, 1440}, "00:00-24:00"},
        Row{"sat,sun 00:00-24:00", {0x60, 0, 1440}, "sat,sun 00:00-24:00"},
        Row{"mon-fri 18:30-07:05", {0x1F, 1110, 425}, "mon,tue,wed,thu,fri 18:30-07:05"},
        Row{"sat-mon,wed 01:00-02:00", {0x65, 60, 120}, "mon,wed,sat,sun 01:00-02:00"},
        Row{"mon-sun 01:00-02:00", {0x7F, 60, 120}, "01:00-02:00"}}) {
    CAPTURE(row.text);
    const auto window = parse_time_window(row.text);
    REQUIRE_MESSAGE(window.has_value(), window.error().what);
    CHECK(*window == row.window);
    CHECK(to_text(*window) == row.again);
    CHECK(parse_time_window(row.again).value() == row.window);
  }
}

TEST_CASE("time window: everything else is refused with a reason") {
  struct Row {
    std::string text;
    const char* reason;
  };
  for (const Row& row : {Row{"", "is not a time window"},
                         Row{"22:00", "is not a time window"},
                         Row{"22:00-", "is not a time window"},
                         Row{"22:00-6:00", "is not a time window"},
                         Row{"22:00-06:60", "is not a time window"},
                         Row{"22:00-24:01", "is not a time window"},
                         Row{"22:00-99:99", "is not a time window"},
                         Row{"-1:00-06:00", "is not a time window"},
                         Row{"22:00 - 06:00", "days are mon"},
                         Row{"Sat 00:00-24:00", "days are mon"},
                         Row{"sat, sun 00:00-24:00", "days are mon"},
                         Row{"sat- 00:00-24:00", "days are mon"},
                         Row{" 00:00-24:00", "days are mon"},
                         Row{"sat  00:00-24:00", "is not a time window"},
                         Row{"06:00-06:00", "a whole day is 00:00-24:00"},
                         Row{"24:00-06:00", "begins before 24:00"},
                         Row{"22:00-00:00", "ends after 00:00"},
                         Row{std::string(100'000, ','), "is not a time window"},
                         Row{std::string(100'000, ',') + " ", "days are mon"},
                         Row{std::string(100'000, '1') + " ", "days are mon"}}) {
    CAPTURE(row.text.substr(0, 30));
    const auto window = parse_time_window(row.text);
    REQUIRE_FALSE(window.has_value());
    CHECK(window.error().what.find(row.reason) != std::string::npos);
    CHECK(window.error().what.size() < 300);
  }
}

TEST_CASE("time window: one that passes midnight belongs to the day on which it begins") {
  const TimeWindow night = parse_time_window("fri 22:00-06:00").value();
  const TimeWindow noon = parse_time_window("mon 12:00-13:00").value();
  const TimeWindow late = parse_time_window("sun 20:00-24:00").value();
  struct Row {
    const char* name;
    TimeWindow window;
    int weekday;
    int minute;
    bool inside;
  };
  for (const Row& row : {Row{"before", night, 4, 1319, false}, Row{"its first minute", night, 4, 1320, true},
                         Row{"after midnight", night, 5, 0, true}, Row{"its last minute", night, 5, 359, true},
                         Row{"after it", night, 5, 360, false}, Row{"the morning before", night, 4, 100, false},
                         Row{"the evening after", night, 5, 1320, false}, Row{"noon", noon, 0, 720, true},
                         Row{"after noon", noon, 0, 780, false}, Row{"another day", noon, 1, 720, false},
                         Row{"the last minute of Sunday", late, 6, 1439, true}, Row{"Monday", late, 0, 0, false}}) {
    CAPTURE(row.name);
    CHECK(contains(row.window, row.weekday, row.minute) == row.inside);
  }
  const TimeWindow sunday_night = parse_time_window("sun 22:00-06:00").value();
  CHECK(contains(sunday_night, 0, 0));
}

TEST_CASE("interface: a name matches itself, and a beginning with a star what begins so") {
  CHECK(matches_interface("wwan0", "wwan0"));
  CHECK_FALSE(matches_interface("wwan0", "wwan01"));
  CHECK(matches_interface("ppp*", "ppp17"));
  CHECK_FALSE(matches_interface("ppp*", "pp"));
  CHECK(matches_interface("*", "eth0"));
  for (const char* good : {"wwan0", "*", "ppp*", "enx001122334455"}) {
    CHECK(problem_with_interface(good).empty());
  }
  for (const char* bad : {"", "a b", "a*b", "**", "*a", "enx0011223344556", "a/b", "caf\xC3\xA9", "a\"b"}) {
    CAPTURE(bad);
    CHECK_FALSE(problem_with_interface(bad).empty());
  }
}
