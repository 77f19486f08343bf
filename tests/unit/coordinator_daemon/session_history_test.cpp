#include "session_history.hpp"

#include <doctest/doctest.h>

using namespace flops;
using namespace flops::coordinator;
using Verdict = SessionHistory::Verdict;

namespace {

wire::DeviceState online(const std::string& session, std::int64_t sequence = 0) {
  wire::DeviceState state;
  state.online = true;
  state.session = session;
  state.sequence = sequence;
  return state;
}

wire::DeviceState offline(const std::string& session, std::int64_t sequence = 0) {
  wire::DeviceState state = online(session, sequence);
  state.online = false;
  return state;
}

}  // namespace

TEST_CASE("session history: within a session a smaller number is old, the same one is taken again") {
  SessionHistory history;
  CHECK(history.judge(online("s", 5)) == Verdict::newest);
  CHECK(history.judge(online("s", 7)) == Verdict::newest);
  CHECK(history.judge(online("s", 5)) == Verdict::old);
  CHECK(history.judge(online("s", 7)) == Verdict::newest);  // as the broker retains it
  CHECK(history.judge(offline("s", 6)) == Verdict::old);
  CHECK(history.judge(offline("s", 100)) == Verdict::newest);  // the will
  CHECK(history.judge(online("s", 8)) == Verdict::old);        // of the connection that is gone
  CHECK(history.judge(online("s", 101)) == Verdict::newest);   // back
  CHECK(history.judge(offline("s", 100)) == Verdict::old);     // the will once more, late
}

TEST_CASE("session history: a state without a number is always taken and changes no order") {
  SessionHistory history;
  CHECK(history.judge(online("s", 5)) == Verdict::newest);
  CHECK(history.judge(offline("s")) == Verdict::newest);
  CHECK(history.judge(online("s", 4)) == Verdict::old);
  CHECK(history.judge(online("s", 6)) == Verdict::newest);
}

TEST_CASE("session history: what a former session had said, and its will, are old") {
  SessionHistory history;
  CHECK(history.judge(online("s1", 5)) == Verdict::newest);
  CHECK(history.judge(online("s2", 3)) == Verdict::newest);
  CHECK(history.judge(online("s1", 5)) == Verdict::old);
  CHECK(history.judge(online("s1", 2)) == Verdict::old);
  CHECK(history.judge(offline("s1", 100)) == Verdict::old);
  CHECK(history.judge(online("s2", 4)) == Verdict::newest);
}

TEST_CASE("session history: a former session that says something new came back") {
  for (const std::int64_t step : {0, 1}) {  // without and with numbers
    CAPTURE(step);
    SessionHistory history;
    std::int64_t number = step;
    CHECK(history.judge(online("s1", number)) == Verdict::newest);
    CHECK(history.judge(online("s2", number)) == Verdict::newest);
    CHECK(history.judge(online("s1", number += step)) == Verdict::came_back);
    CHECK(history.judge(online("s1", number)) == Verdict::newest);
    CHECK(history.judge(online("s2", number)) == Verdict::came_back);
    CHECK(history.judge(online("s3", number)) == Verdict::newest);
    CHECK(history.judge(online("s1", number += step)) == Verdict::came_back);
  }
}

TEST_CASE("session history: what the broker retained of a device that is away is its first session") {
  SessionHistory history;
  CHECK(history.judge(offline("s1", 9)) == Verdict::newest);
  CHECK(history.judge(online("s1", 8)) == Verdict::old);
  CHECK(history.judge(online("s2", 1)) == Verdict::newest);
  CHECK(history.judge(online("s1", 8)) == Verdict::old);
}

TEST_CASE("session history: only a session that was online replaces another") {
  SessionHistory history;
  CHECK(history.judge(online("s2", 1)) == Verdict::newest);
  CHECK(history.judge(offline("s1", 9)) == Verdict::newest);  // nothing is known of it
  CHECK(history.judge(online("s2", 2)) == Verdict::newest);   // and no machine came back
}
