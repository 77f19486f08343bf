#include <doctest/doctest.h>

#include <random>

#include "flops/rounds/run_machine.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace std::chrono_literals;

namespace {

DeviceId device(int n) {
  return DeviceId::parse("d" + std::to_string(n)).value();
}

std::set<DeviceId> devices(int count) {
  std::set<DeviceId> all;
  for (int i = 1; i <= count; ++i) {
    all.insert(device(i));
  }
  return all;
}

Digest model(char c) {
  return Digest::from_hex(std::string(64, c)).value();
}

template <class Kind>
std::vector<Kind> all(const std::vector<Action>& actions) {
  std::vector<Kind> found;
  for (const Action& action : actions) {
    if (const auto* one = std::get_if<Kind>(&action)) {
      found.push_back(*one);
    }
  }
  return found;
}

// A run under test: feeds events and remembers the tasks that were given out.
struct Run {
  RunState state;
  FakeClock clock;
  std::map<DeviceId, TaskId> tasks;

  explicit Run(std::int64_t rounds = 2, std::int64_t min_fit = 2) {
    state.id = RunId::parse("run-1").value();
    state.spec.model = "m";
    state.spec.data = "d";
    state.spec.rounds = rounds;
    state.spec.min_fit = min_fit;
    state.spec.min_available = min_fit;
  }
  std::vector<Action> feed(const Event& event) {
    auto actions = on_event(state, event, clock.steady());
    for (const SendTask& task : all<SendTask>(actions)) {
      tasks[task.device] = task.task;
    }
    return actions;
  }
  std::vector<Action> contribute(int n) { return feed(Contributed{device(n), tasks[device(n)]}); }
  std::vector<Action> fail_task(int n) { return feed(TaskFailed{device(n), tasks[device(n)], "broken"}); }
  void to_round_one(int count) {
    feed(DevicesAvailable{devices(count)});
    feed(Initialised{device(1), tasks[device(1)], model('a')});
    REQUIRE(state.phase == Phase::fitting);
  }
};

}  // namespace

TEST_CASE("run: from waiting to finished with two devices and two rounds") {
  Run run;
  CHECK(run.feed(DevicesAvailable{devices(1)}).empty());
  CHECK(run.state.phase == Phase::waiting);
  CHECK(run.state.reason.find("1 of 2") != std::string::npos);

  auto actions = run.feed(DevicesAvailable{devices(2)});
  REQUIRE(all<SendTask>(actions).size() == 1);
  CHECK(all<SendTask>(actions)[0].kind == wire::TaskKind::init);

  actions = run.feed(Initialised{device(1), run.tasks[device(1)], model('a')});
  CHECK(all<OpenRound>(actions).size() == 1);
  REQUIRE(all<SendTask>(actions).size() == 2);
  CHECK_FALSE(all<SendTask>(actions)[0].evaluate_first);  // the initial model is not measured
  CHECK(all<SendTask>(actions)[0].seed != all<SendTask>(actions)[1].seed);

  CHECK(run.contribute(1).empty());
  CHECK(all<CloseRound>(run.contribute(2)).size() == 1);
  actions = run.feed(Aggregated{model('b')});
  CHECK(run.state.round == 2);
  CHECK(all<SendTask>(actions)[0].evaluate_first);

  run.contribute(2);
  run.contribute(1);
  actions = run.feed(Aggregated{model('c')});
  CHECK(run.state.phase == Phase::evaluating);
  REQUIRE(all<SendTask>(actions).size() == 2);
  CHECK(all<SendTask>(actions)[0].kind == wire::TaskKind::evaluate);
  run.feed(Evaluated{device(1), run.tasks[device(1)]});
  actions = run.feed(Evaluated{device(2), run.tasks[device(2)]});
  CHECK(run.state.phase == Phase::finished);
  CHECK(all<EvaluationClosed>(actions).size() == 1);
  CHECK(all<RunOver>(actions).size() == 1);
  CHECK(run.state.model == model('c'));
}

TEST_CASE("run: repeated and stale events change nothing") {
  Run run;
  run.to_round_one(3);
  const TaskId old = run.tasks[device(1)];
  run.contribute(1);
  CHECK(run.contribute(1).empty());
  CHECK(run.fail_task(1).empty());
  CHECK(run.feed(Initialised{device(1), old, model('f')}).empty());
  CHECK(run.feed(Aggregated{model('f')}).empty());
  CHECK(run.feed(Evaluated{device(2), run.tasks[device(2)]}).empty());
  CHECK(run.feed(Contributed{device(9), old}).empty());
  CHECK(run.state.model == model('a'));
  run.contribute(2);
  run.contribute(3);
  run.feed(Aggregated{model('b')});
  CHECK(run.feed(Contributed{device(1), old}).empty());  // of the round before
  CHECK(run.state.participants.at(device(1)).answer == Answer::none);
}

TEST_CASE("run: at the deadline a round with enough updates closes, and the rest is told") {
  Run run(1, 2);
  run.to_round_one(3);
  run.contribute(1);
  run.contribute(3);
  CHECK(run.feed(Tick{}).empty());
  run.clock.advance(601s);
  CHECK(all<CloseRound>(run.feed(Tick{})).size() == 1);
  const auto cancelled = all<CancelTask>(run.feed(Aggregated{model('b')}));
  REQUIRE(cancelled.size() == 1);
  CHECK(cancelled[0].device == device(2));
}

TEST_CASE("run: with too few updates at the deadline it waits on, and asks devices that came meanwhile") {
  Run run(1, 2);
  run.to_round_one(2);
  run.contribute(1);
  run.feed(DevicesAvailable{{device(1), device(7)}});
  run.clock.advance(601s);
  CHECK(all<CloseRound>(run.feed(Tick{})).empty());
  CHECK(run.state.phase == Phase::fitting);
  CHECK(run.contribute(2).size() == 1);  // late, but the round was still open
  CHECK(run.state.phase == Phase::aggregating);
}

TEST_CASE("run: a failed device is replaced by another one that is available") {
  Run run(1, 2);
  run.to_round_one(2);
  run.feed(DevicesAvailable{devices(3)});
  CHECK_FALSE(run.tasks.contains(device(3)));
  const auto sent = all<SendTask>(run.fail_task(1));
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].device == device(3));
  run.contribute(2);
  CHECK(all<CloseRound>(run.contribute(3)).size() == 1);
}

TEST_CASE("run: when everybody failed and nobody is left, it fails with the reason") {
  Run run(1, 2);
  run.to_round_one(2);
  run.fail_task(1);
  run.fail_task(2);
  CHECK(run.state.phase == Phase::fitting);
  run.clock.advance(601s);
  const auto actions = run.feed(Tick{});
  CHECK(all<RunOver>(actions).size() == 1);
  CHECK(run.state.phase == Phase::failed);
  CHECK(run.state.reason.find("broken") != std::string::npos);
}

TEST_CASE("run: another device makes the initial model when the first cannot, and three failures end the run") {
  Run run;
  run.feed(DevicesAvailable{devices(4)});
  for (int n = 1; n <= 2; ++n) {
    const auto sent = all<SendTask>(run.fail_task(n));
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].device == device(n + 1));
  }
  run.fail_task(3);
  CHECK(run.state.phase == Phase::failed);
  CHECK(run.state.reason.find("broken") != std::string::npos);
}

TEST_CASE("run: stopping cancels open tasks and is final") {
  Run run;
  run.to_round_one(2);
  run.contribute(1);
  const auto actions = run.feed(StopRequested{});
  REQUIRE(all<CancelTask>(actions).size() == 1);
  CHECK(all<CancelTask>(actions)[0].device == device(2));
  CHECK(run.state.phase == Phase::stopped);
  CHECK(run.contribute(2).empty());
  CHECK(run.feed(StopRequested{}).empty());
}

TEST_CASE("run: an update that was added while the sum was closing counts, one after it does not") {
  Run run(2, 2);
  run.to_round_one(3);
  run.contribute(1);
  run.contribute(2);
  run.clock.advance(601s);
  run.feed(Tick{});
  REQUIRE(run.state.phase == Phase::aggregating);
  run.contribute(3);
  CHECK(run.state.participants.at(device(3)).answer == Answer::contributed);
  CHECK(all<CancelTask>(run.feed(Aggregated{model('b')})).empty());
}

TEST_CASE("run: after a restart open tasks are sent again and the round is opened again") {
  Run run;
  run.to_round_one(3);
  run.contribute(2);
  RunState stored = run.state;
  stored.available.clear();
  const auto actions = on_restart(stored, run.clock.steady());
  CHECK(all<OpenRound>(actions).size() == 1);
  CHECK(all<SendTask>(actions).size() == 2);
  CHECK(all<SendTask>(actions)[0].task == run.tasks[device(1)]);

  run.contribute(1);
  run.contribute(3);
  RunState closing = run.state;
  const auto close = on_restart(closing, run.clock.steady());
  CHECK(all<CloseRound>(close).size() == 1);
  CHECK(all<SendTask>(close).empty());
}

TEST_CASE("run: selection is deterministic, of the right size, and differs from round to round") {
  const auto everyone = devices(50);
  const auto first = select(everyone, 10, 1, 1);
  CHECK(first.size() == 10);
  CHECK(first == select(everyone, 10, 1, 1));
  CHECK(first != select(everyone, 10, 1, 2));
  CHECK(first != select(everyone, 10, 2, 1));
  CHECK(select(everyone, 100, 1, 1) == everyone);
  std::map<DeviceId, int> hits;
  for (int round = 0; round < 500; ++round) {
    for (const DeviceId& chosen : select(everyone, 10, 3, round)) {
      ++hits[chosen];
    }
  }
  CHECK(hits.size() == 50);
  for (const auto& [id, count] : hits) {
    CHECK(count > 50);  // expected 100
    CHECK(count < 160);
  }
}

TEST_CASE("run: any sequence of events keeps the invariants") {
  std::mt19937 random(5);
  for (int trial = 0; trial < 300; ++trial) {
    Run run(1 + static_cast<std::int64_t>(random() % 3), 1 + static_cast<std::int64_t>(random() % 3));
    int closes = 0;
    int overs = 0;
    for (int step = 0; step < 200; ++step) {
      const int n = 1 + static_cast<int>(random() % 4);
      std::vector<Action> actions;
      switch (random() % 9) {
        case 0: actions = run.feed(DevicesAvailable{devices(static_cast<int>(random() % 5))}); break;
        case 1:
          run.clock.advance(std::chrono::seconds(random() % 700));
          actions = run.feed(Tick{});
          break;
        case 2: actions = run.fail_task(n); break;
        case 3: actions = run.feed(Initialised{device(n), run.tasks[device(n)], model('a')}); break;
        case 4:
        case 5: actions = run.contribute(n); break;
        case 6: actions = run.feed(Aggregated{model('b')}); break;
        case 7: actions = run.feed(Evaluated{device(n), run.tasks[device(n)]}); break;
        case 8:
          if (random() % 60 == 0) {
            actions = run.feed(StopRequested{});
          }
          break;
      }
      closes += static_cast<int>(all<CloseRound>(actions).size());
      overs += static_cast<int>(all<RunOver>(actions).size());
      REQUIRE(run.state.round <= run.state.spec.rounds);
      REQUIRE(closes <= run.state.round);
      REQUIRE(overs == (is_over(run.state.phase) ? 1 : 0));
      if (overs == 1) {
        REQUIRE((all<RunOver>(actions).empty() || std::holds_alternative<RunOver>(actions.back())));
      }
    }
  }
}
