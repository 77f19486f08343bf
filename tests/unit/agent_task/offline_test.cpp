// Training that goes on without a link: [offline] continue.
#include <cmath>
#include <limits>
#include <set>

#include <doctest/doctest.h>

#include "machine_script.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::script;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

event::Chosen chosen(int rounds) {
  return {rounds};
}
event::Trained round_of(int rounds, double loss = 0.5) {
  return trained(600, loss, rounds);
}

const Events running = {arrived(make_task(), true), chosen(2)};
const Events kept_one = running + Events{round_of(2)};
const Events running_two = kept_one + Events{chosen(2)};
const Events kept_two = running_two + Events{round_of(2)};
const Events running_three = kept_two + Events{chosen(2)};

wire::ResultMessage result_of(const Events& events) {
  const TaskState state = after(events);
  REQUIRE(state.result.has_value());
  return *state.result;
}

}  // namespace

TEST_CASE("offline training: goes on from what it has for the rounds that are allowed, then makes one update") {
  check_rows({
      {"not allowed: as ever", running, round_of(0), Phase::encoding, "encode"},
      {"offline after the task's own round: kept", running, round_of(2), Phase::ready, "keep"},
      {"chosen again: trains on", kept_one, chosen(2), Phase::running, "train"},
      {"offline after one more: kept", running_two, round_of(2), Phase::ready, "keep"},
      {"the last one makes the update", running_three, round_of(2), Phase::encoding, "encode"},
      {"connected while it trains: that round is finished", running_two, event::Connected{}, Phase::running,
       "ack accepted"},
      {"and then makes the update", running_two, round_of(0), Phase::encoding, "encode"},
      {"connected between two rounds: what is kept", kept_one, event::Connected{}, Phase::encoding,
       "ack accepted, encode"},
      {"chosen when connected again: what is kept", kept_one, chosen(0), Phase::encoding, "encode"},
      {"fewer are allowed after a restart: what is kept", kept_two, chosen(1), Phase::encoding, "encode"},
      {"an evaluation ends with its result",
       {arrived(make_task(wire::TaskKind::evaluate), true), chosen(2), evaluated()},
       trained(0, 0.5, 2),
       Phase::offering,
       "result"},
      {"initial parameters are made once",
       {arrived(make_task(wire::TaskKind::init)), chosen(2)},
       round_of(2),
       Phase::encoding,
       "encode"},
  });
}

TEST_CASE(
    "offline training: the result names the true base, the samples of one round, and how many rounds there were") {
  struct Row {
    const char* name;
    Events events;
    std::int64_t rounds;
    double seconds;
  };
  for (const Row& row : {Row{"none offline", running + Events{round_of(0)}, 1, 1.5},
                         Row{"what is kept of one", kept_one + Events{event::Connected{}}, 1, 1.5},
                         Row{"what is kept of two", kept_two + Events{event::Connected{}}, 2, 3.0},
                         Row{"the third ends with a link", running_three + Events{round_of(0)}, 3, 4.5},
                         Row{"all that are allowed", running_three + Events{round_of(2)}, 3, 4.5}}) {
    SUBCASE(row.name) {
      const Events said = row.events + Events{encoded()};
      const wire::ResultMessage result = result_of(said);
      CHECK(result.ok);
      CHECK(result.ref == make_task().ref);
      CHECK(result.base == base);
      CHECK(result.weight == 600);
      CHECK(result.train_loss == 0.5);
      CHECK(result.local_rounds == row.rounds);
      CHECK(result.steps == 10 * row.rounds);
      CHECK(result.train_seconds == row.seconds);
      CHECK_FALSE(after(said).continued.has_value());
    }
  }
}

TEST_CASE("offline training: steps that a round does not know, or too many to be said, are not known of all") {
  struct Row {
    std::uint64_t first, second;
    std::int64_t said;
  };
  constexpr auto most = static_cast<std::uint64_t>(wire::max_steps);
  for (const Row& row : {Row{0, 10, 0}, Row{10, 0, 0}, Row{1, most - 1, wire::max_steps}, Row{1, most, 0},
                         Row{most + 1, 1, 0}, Row{~std::uint64_t{0}, ~std::uint64_t{0}, 0}}) {
    event::Trained first = round_of(2);
    first.outcome.steps = row.first;
    event::Encoded last = encoded();
    last.outcome.steps = row.second;
    CHECK(result_of(running + Events{first, chosen(2), round_of(0), last}).steps == row.said);
  }
}

TEST_CASE("offline training: an update that is offered stays as it is when the link goes") {
  const Events offered = running + Events{round_of(0), encoded()};
  check_rows({
      {"chosen again: nothing", offered, chosen(2), Phase::offering, ""},
      {"trained again: nothing", offered, round_of(2), Phase::offering, ""},
      {"connected: the same", offered, event::Connected{}, Phase::offering, "result"},
      {"being made: stays", running + Events{round_of(0)}, chosen(2), Phase::encoding, ""},
  });
}

TEST_CASE("offline training: an interruption anywhere costs no more than the round under way") {
  check_rows({
      {"killed in the second round: again", running_two, event::Restarted{}, Phase::ready, ""},
      {"and trained from what is kept", running_two + Events{event::Restarted{}}, chosen(2), Phase::running, "train"},
      {"killed between two rounds", kept_two, event::Restarted{}, Phase::ready, ""},
      {"the base got lost: fetched again", kept_one, event::Restarted{false}, Phase::fetching, "fetch"},
      {"then what is kept goes on",
       kept_one + Events{event::Restarted{false}, event::ChunksComplete{}, event::Assembled{}}, chosen(2),
       Phase::running, "train"},
      {"killed while what is kept is encoded", kept_one + Events{event::Connected{}}, event::Restarted{}, Phase::ready,
       ""},
      {"and encoded again", kept_one + Events{event::Connected{}, event::Restarted{}}, event::Connected{},
       Phase::encoding, "ack accepted, encode"},
      {"the agent stops while it is encoded", kept_one + Events{event::Connected{}},
       event::EncodeFailed{error(ErrorKind::cancelled)}, Phase::ready, ""},
  });
  CHECK(after(running_two + Events{event::Restarted{}}).continued->rounds == 1);
  CHECK(after(running_two + Events{event::Restarted{}}).continued->parameters == kept);
  CHECK_FALSE(after(running_two + Events{event::KeptMissing{}}).continued.has_value());
}

TEST_CASE("offline training: a further round that fails does not take the ones before it along") {
  check_rows({
      {"diverged", running_two, round_of(2, infinite), Phase::encoding, "encode"},
      {"the first one diverged: the task fails", running, round_of(2, infinite), Phase::offering, "drop blob, result"},
      {"an error for good", running_two, event::TrainFailed{error(ErrorKind::permanent)}, Phase::encoding, "encode"},
      {"a passing error: again", running_two, event::TrainFailed{error(ErrorKind::transient)}, Phase::ready, ""},
      {"what is kept cannot be encoded: the task fails", kept_one + Events{event::Connected{}},
       event::EncodeFailed{error(ErrorKind::corrupt)}, Phase::offering, "drop blob, result"},
      {"what is kept is lost while it trains: from the base again", running_two, event::KeptMissing{}, Phase::ready,
       ""},
      {"or while it is encoded", kept_one + Events{event::Connected{}}, event::KeptMissing{}, Phase::ready, ""},
      {"the base is lost while what is kept is encoded", kept_one + Events{event::Connected{}}, event::BaseMissing{},
       Phase::absent, "stop, ack need_full, forget"},
      {"cancelled: all is forgotten", kept_two, event::Cancelled{}, Phase::finished, "stop, forget"},
  });
  CHECK(result_of(running_two + Events{round_of(2, infinite), encoded()}).local_rounds == 1);

  TaskState state = after(running_two);
  for (int restart = 0; restart < max_interruptions; ++restart) {
    state = on_event(state, event::Restarted{}).next;
    state = state.phase == Phase::ready ? on_event(state, chosen(2)).next : state;
  }
  CHECK(state.phase == Phase::encoding);
  CHECK(state.continued->ends);
  CHECK(broken_invariant(state).value_or("") == "");
  // When even that brings the agent down again and again, the task ends.
  for (int restart = 0; restart < max_interruptions; ++restart) {
    state = on_event(state, event::Restarted{}).next;
    state = state.phase == Phase::ready ? on_event(state, chosen(0)).next : state;
  }
  CHECK(state.phase == Phase::offering);
  CHECK_FALSE(state.result->ok);
}

TEST_CASE("offline training: never more than so many rounds, each with a seed of its own") {
  TaskState state = after({arrived(make_task(), true)});
  int rounds = 0;
  while (state.phase == Phase::ready && rounds < 2 * max_local_rounds) {
    state = on_event(on_event(state, chosen(1'000'000)).next, round_of(1'000'000)).next;
    ++rounds;
  }
  CHECK(state.phase == Phase::encoding);
  CHECK(rounds == max_local_rounds);
  CHECK(broken_invariant(state).value_or("") == "");

  std::set<std::uint64_t> seeds;
  for (int round = 0; round < max_local_rounds; ++round) {
    seeds.insert(seed_of_local_round(42, round));
  }
  CHECK(seeds.size() == max_local_rounds);
  CHECK(seed_of_local_round(42, 0) == 42);
  CHECK(seed_of_local_round(42, 3) == seed_of_local_round(42, 3));
}
