// Over-selection, late updates, asynchronous rounds.
#include <sstream>

#include <doctest/doctest.h>

#include "script.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace flops::rounds::testing;
using namespace std::chrono_literals;

namespace {

// One letter an event: +n and -n a device comes and goes, cn it contributes, fn it fails, a the sum is closed,
// t a deadline passes, R the coordinator restarts.
void play(Run& run, const std::string& events) {
  std::istringstream words(events);
  std::set<DeviceId> online = run.state.available;
  for (std::string word; words >> word;) {
    const int n = word.size() > 1 ? std::stoi(word.substr(1)) : 0;
    switch (word[0]) {
      case '+':
        online.insert(device(n));
        run.feed(DevicesAvailable{online});
        break;
      case '-':
        online.erase(device(n));
        run.feed(DevicesAvailable{online});
        break;
      case 'c': run.contribute(n); break;
      case 'f': run.fail_task(n); break;
      case 'a': run.feed(Aggregated{model(static_cast<char>('a' + run.state.round))}); break;
      case 't':
        run.clock.advance(601s);
        run.feed(Tick{});
        break;
      case 'R':
        run.state.overdue = false;
        (void)on_restart(run.state, run.clock.steady());
        run.feed(DevicesAvailable{online});
        break;
      default: FAIL("no such event: " << word);
    }
  }
}

// "2: 1r2 3r1": round 2, device 1 works on a task of round 2, device 3 on one of round 1.
std::string picture(const Run& run) {
  std::string text = fmt::format("{} {}:", to_string(run.state.phase), run.state.round);
  for (const auto& [id, participant] : run.state.participants) {
    if (participant.answer == Answer::none) {
      text += fmt::format(" {}r{}", id.str().substr(1), participant.round);
    }
  }
  return text;
}

RunSpec sync_spec(std::int64_t min_fit, double fraction, double over_select, std::int64_t max_staleness) {
  RunSpec spec;
  spec.rounds = 9;
  spec.min_fit = spec.min_available = min_fit;
  spec.fraction = fraction;
  spec.over_select = over_select;
  spec.max_staleness = max_staleness;
  return spec;
}

RunSpec async_spec(std::int64_t buffer, std::int64_t max_staleness, std::int64_t min_fit = 1) {
  RunSpec spec;
  spec.rounds = 9;
  spec.mode = Mode::async;
  spec.buffer = spec.min_available = buffer;
  spec.min_fit = min_fit;
  spec.max_staleness = max_staleness;
  return spec;
}

struct Row {
  const char* name;
  RunSpec spec;
  int devices;  // online from the start
  const char* events;
  const char* outcome;
};

}  // namespace

TEST_CASE("run: who is late, who is asked, when a round closes") {
  const RunSpec strict = sync_spec(2, 1, 0, 0);
  const RunSpec late = sync_spec(2, 1, 0, 1);
  const RunSpec async = async_spec(2, 1);
  const Row rows[] = {
      {"without late updates a closed round frees everybody", strict, 3, "c1 c2 t a", "fitting 2: 1r2 2r2 3r2"},
      {"with them the late device keeps its task and gets no other", late, 3, "c1 c2 t a", "fitting 2: 1r2 2r2 3r1"},
      {"a late update counts, but does not close the round alone", late, 3, "c1 c2 t a c3", "fitting 2: 1r2 2r2"},
      {"a late update is not waited for", late, 3, "c1 c2 t a c1 c2", "aggregating 2: 3r1"},
      {"who was late is asked again in the next round", late, 3, "c1 c2 t a c3 c1 c2 a", "fitting 3: 1r3 2r3 3r3"},
      {"beyond max_staleness the task is cancelled and the device free", late, 3, "c1 c2 t a c1 c2 a",
       "fitting 3: 1r3 2r3 3r3"},
      {"a late device that fails is free at once when the round lacks devices", sync_spec(3, 1, 0, 1), 4,
       "c1 c2 c3 t a f1 f4", "fitting 2: 2r2 3r2 4r2"},
      {"a round may be filled by late updates alone", late, 4, "c1 c2 t a -1 -2 f1 f2 c3 c4", "aggregating 2:"},
      {"late updates count as those of a round that nobody else could be asked for", sync_spec(1, 1, 0, 3), 3,
       "-2 -3 c1 t a -1 f1 c2", "aggregating 2: 3r1"},
      {"a late task survives a restart", late, 3, "c1 c2 t a R", "fitting 2: 1r2 2r2 3r1"},
      {"and a restart while the sum is closed", late, 3, "c1 c2 t R a", "fitting 2: 1r2 2r2 3r1"},

      {"over-selection asks more and closes when the wanted number has answered", sync_spec(2, 0.5, 0.5, 0), 3, "c1 c3",
       "aggregating 1: 2r1"},
      {"the surplus is cancelled", sync_spec(2, 0.5, 1, 0), 4, "c1 c2 a", "fitting 2: 1r2 2r2 3r2 4r2"},
      {"or late", sync_spec(2, 0.5, 1, 2), 4, "c1 c2 a", "fitting 2: 1r2 2r2 3r1 4r1"},
      {"late updates fill an over-selected round", sync_spec(2, 0.5, 1, 2), 4, "c1 c2 a c3 c4",
       "aggregating 2: 1r2 2r2"},
      {"how many were wanted survives a restart", sync_spec(2, 0.75, 1, 0), 4, "c1 c2 R", "fitting 1: 3r1 4r1"},

      {"async: every device has a task", async, 3, "", "fitting 1: 1r1 2r1 3r1"},
      {"async: who comes later is asked at once", async, 3, "+4", "fitting 1: 1r1 2r1 3r1 4r1"},
      {"async: who contributed waits for the next version", async, 3, "c1", "fitting 1: 2r1 3r1"},
      {"async: the buffer closes with K updates, whoever works still", async, 3, "c1 c2", "aggregating 1: 3r1"},
      {"async: with the new version the free ones go on", async, 3, "c1 c2 a", "fitting 2: 1r2 2r2 3r1"},
      {"async: a late update is one of the K", async, 3, "c1 c2 a c3 c1", "aggregating 2: 2r2"},
      {"async: too late is dropped and asked anew", async, 3, "c1 c2 a c1 c2 a", "fitting 3: 1r3 2r3 3r3"},
      {"async: who fails gets no task of the same version", async, 3, "f1 c2", "fitting 1: 3r1"},
      {"async: but one of the next", async, 3, "f1 c2 c3 a", "fitting 2: 1r2 2r2 3r2"},
      {"async: a late one that fails is asked for the newest at once", async, 3, "c1 c2 a f3",
       "fitting 2: 1r2 2r2 3r2"},
      {"async: at the deadline min_fit updates are enough", async, 3, "c1 t", "aggregating 1: 2r1 3r1"},
      {"async: with fewer it waits", async_spec(3, 1, 2), 3, "-1 -2 c3 t t t", "fitting 1: 1r1 2r1"},
      {"async: whoever is left finishes it with whoever joins", async_spec(3, 1, 2), 3, "-1 -2 c3 t +4 c4 t",
       "aggregating 1: 1r1 2r1"},
      {"async: a restart keeps tasks and the buffer", async, 3, "c1 R c2", "aggregating 1: 3r1"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      Run run;
      run.state.spec = row.spec;
      run.state.spec.data = "d";
      run.to_round_one(row.devices);
      play(run, row.events);
      CHECK(picture(run) == row.outcome);
    }
  }
}

TEST_CASE("run: a late participant keeps the round and the model of its task") {
  Run run;
  run.state.spec = sync_spec(2, 1, 0, 5);
  run.to_round_one(3);
  play(run, "c1 c2 t a c1 c2 a");
  const Participant& late = run.state.participants.at(device(3));
  CHECK(late.round == 1);
  CHECK(late.base == model('a'));
  CHECK(staleness(run.state, late) == 2);
  CHECK(run.state.participants.at(device(1)).base == run.state.model);
  // After a restart it is sent the same task again.
  const auto again = all<SendTask>(on_restart(run.state, run.clock.steady()));
  REQUIRE(again.size() == 3);
  CHECK(again[2].task == late.task);
  CHECK(again[2].round == 1);
  CHECK_FALSE(again[2].evaluate_first);
  CHECK(again[2].seed == task_seed(run.state.spec.seed, 1, device(3)));
}

TEST_CASE("run: what is too late is told so, with its own round, and after the last round everything is") {
  Run run;
  run.state.spec = sync_spec(2, 1, 0, 1);
  run.state.spec.rounds = 3;
  run.state.spec.evaluate = false;
  run.to_round_one(4);
  const TaskId task = run.tasks[device(3)];
  play(run, "c1 c2 t a c1 c2");
  const auto cancelled = all<CancelTask>(run.feed(Aggregated{model('c')}));
  REQUIRE(cancelled.size() == 2);
  CHECK(cancelled[0].device == device(3));
  CHECK(cancelled[0].task == task);
  CHECK(cancelled[0].round == 1);
  play(run, "c1 c2 c3 t");
  const auto last = run.feed(Aggregated{model('d')});
  REQUIRE(all<CancelTask>(last).size() == 1);
  CHECK(all<CancelTask>(last)[0].device == device(4));
  CHECK(run.state.phase == Phase::finished);
}

TEST_CASE("run: over-selection asks a share more than is wanted, rounded up, and no more than there are") {
  struct Row {
    const char* name;
    std::int64_t min_fit;
    double fraction, over_select;
    int devices;
    std::size_t asked;
  };
  const Row rows[] = {
      {"none", 2, 0.5, 0, 20, 10},          {"a tenth", 2, 0.5, 0.1, 20, 11},   {"rounded up", 2, 0.5, 0.11, 20, 12},
      {"no surplus left", 2, 1, 0.5, 8, 8}, {"of min_fit", 4, 0.1, 0.5, 20, 6}, {"twice as many", 2, 0.5, 1, 20, 20},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      Run run;
      run.state.spec = sync_spec(row.min_fit, row.fraction, row.over_select, 0);
      run.to_round_one(row.devices);
      CHECK(run.state.participants.size() == row.asked);
    }
  }
}
