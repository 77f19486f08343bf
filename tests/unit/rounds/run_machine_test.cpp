#include <doctest/doctest.h>

#include "script.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace flops::rounds::testing;
using namespace std::chrono_literals;

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

TEST_CASE(
    "run: with too few updates at the deadline it waits on, and asks devices in the place of those that are away") {
  Run run(1, 2);
  run.to_round_one(2);
  run.contribute(1);
  CHECK(run.feed(DevicesAvailable{{device(1), device(7)}}).empty());  // 2 may be back in time
  run.clock.advance(601s);
  const auto sent = all<SendTask>(run.feed(Tick{}));
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].device == device(7));
  CHECK(run.state.phase == Phase::fitting);
  CHECK(run.state.reason.find("has 1 of 2 updates") != std::string::npos);
  CHECK(run.contribute(2).empty());  // the round was still open, and waits for 7 as well
  CHECK(run.contribute(7).size() == 1);
  CHECK(run.state.phase == Phase::aggregating);
}

TEST_CASE("run: a device that comes when a round is overdue is asked at once") {
  Run run(1, 2);
  run.to_round_one(2);
  run.feed(DevicesAvailable{{}});
  run.clock.advance(601s);
  CHECK(run.feed(Tick{}).empty());
  CHECK(run.state.reason.find("0 of them are online") != std::string::npos);
  CHECK(all<SendTask>(run.feed(DevicesAvailable{{device(8)}})).size() == 1);
  CHECK(all<SendTask>(run.feed(DevicesAvailable{{device(8), device(9)}})).size() == 1);
  CHECK(all<SendTask>(run.feed(DevicesAvailable{{device(8), device(9), device(10)}})).empty());  // enough
}

TEST_CASE("run: a device that is online and silent is replaced after its second deadline, and no more are asked") {
  Run run(1, 2);
  run.state.spec.fraction = 0.25;
  run.to_round_one(2);
  run.feed(DevicesAvailable{{device(1), device(2), device(7), device(8)}});
  run.contribute(1);
  run.clock.advance(601s);
  CHECK(run.feed(Tick{}).empty());
  run.clock.advance(601s);
  const auto sent = all<SendTask>(run.feed(Tick{}));
  REQUIRE(sent.size() == 1);
  CHECK((sent[0].device == device(7) || sent[0].device == device(8)));
  CHECK(run.feed(DevicesAvailable{{device(1), device(2), device(7), device(8), device(9)}}).empty());
  run.feed(Contributed{sent[0].device, sent[0].task});
  run.clock.advance(601s);
  CHECK(all<CloseRound>(run.feed(Tick{})).size() == 1);
}

TEST_CASE("run: the round after a restart asks no fewer than the one before, whoever is back by then") {
  Run run(2, 2);
  run.state.spec.fraction = 0.1;
  run.to_round_one(4);
  REQUIRE(run.state.participants.size() == 2);
  run.state.least_wanted = 3;
  for (const auto& [asked, participant] : std::map(run.state.participants)) {
    run.feed(Contributed{asked, participant.task});
  }
  CHECK(all<SendTask>(run.feed(Aggregated{model('b')})).size() == 3);
  CHECK(run.state.wanted == 3);
}

TEST_CASE("run: devices that are away for a week do not end it, and when they return it goes on") {
  Run run(1, 2);
  run.to_round_one(2);
  run.fail_task(1);
  run.feed(DevicesAvailable{{}});
  for (int term = 0; term < 1000; ++term) {
    run.clock.advance(601s);
    CHECK(run.feed(Tick{}).empty());
  }
  CHECK(run.state.phase == Phase::fitting);
  run.feed(DevicesAvailable{{device(2), device(3)}});
  CHECK(run.works(3));
  run.contribute(2);
  CHECK(all<CloseRound>(run.contribute(3)).size() == 1);
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

TEST_CASE("run: a device that makes the initial model and goes away is waited for, or replaced by another") {
  Run run;
  run.feed(DevicesAvailable{devices(2)});
  run.feed(DevicesAvailable{{}});
  run.clock.advance(601s);
  CHECK(run.feed(Tick{}).empty());
  CHECK(run.state.phase == Phase::initialising);
  CHECK(run.state.reason.find("no initial model after 600 s") != std::string::npos);
  run.feed(DevicesAvailable{{device(2)}});
  run.clock.advance(601s);
  const auto actions = run.feed(Tick{});
  REQUIRE(all<CancelTask>(actions).size() == 1);
  REQUIRE(all<SendTask>(actions).size() == 1);
  CHECK(all<SendTask>(actions)[0].device == device(2));
  for (int term = 0; term < 5; ++term) {
    run.clock.advance(601s);
    run.feed(Tick{});
  }
  run.feed(Initialised{device(2), run.tasks[device(2)], model('a')});
  CHECK(run.state.phase == Phase::fitting);
}

TEST_CASE("run: one that cannot make the initial model does not end the run while the others are away") {
  Run run;
  run.feed(DevicesAvailable{devices(2)});
  run.feed(DevicesAvailable{devices(1)});
  run.fail_task(1);
  CHECK(run.state.phase == Phase::initialising);
  CHECK(all<SendTask>(run.feed(DevicesAvailable{devices(2)})).size() == 1);
  run.fail_task(2);
  CHECK(run.state.phase == Phase::failed);
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
