// Any sequence of repeated, reordered and unexpected events: the state stays valid, and a task has one result.
#include <random>

#include <doctest/doctest.h>

#include "machine_script.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::script;

namespace {

Event random_event(std::mt19937_64& random) {
  const ErrorKind kinds[] = {ErrorKind::transient, ErrorKind::permanent, ErrorKind::corrupt, ErrorKind::resource,
                             ErrorKind::cancelled};
  const Error failure = error(kinds[random() % 5]);
  const bool coin = random() % 2 == 0;
  const auto status = static_cast<wire::ReceiptStatus>(random() % 3);
  const std::vector<Event> events = {
      event::Arrived{coin ? make_task() : delta_task(), random() % 3 == 0, random() % 4 != 0,
                     random() % 9 == 0 ? "no" : ""},
      event::ChunksComplete{},
      event::Assembled{},
      event::AssembleFailed{failure},
      event::BaseMissing{},
      event::Chosen{static_cast<int>(random() % 3)},
      event::Checkpointed{},
      evaluated(coin ? 1.0 : std::numeric_limits<double>::infinity()),
      event::MetricsDelivered{},
      trained(random() % 4 == 0 ? 0 : 10, 0.5, static_cast<int>(random() % 3)),
      event::TrainFailed{failure},
      event::KeptMissing{},
      // Training again gives another update: a second result would be seen.
      event::Encoded{wire::BlobRef{digest(static_cast<std::uint8_t>(10 + random() % 200)), update_size}, {}},
      event::EncodeFailed{failure},
      granted({{static_cast<std::uint32_t>(random() % 6), static_cast<std::uint32_t>(random() % 6)}}),
      receipted(status, coin ? update : Digest{}),
      event::Cancelled{},
      event::Superseded{},
      event::Connected{},
      event::Restarted{coin},
  };
  // Progress is likelier than an end, so that sequences get far.
  const std::size_t pick = random() % (events.size() * 6);
  const std::size_t usual[] = {0, 1, 2, 5, 7, 9, 12, 14, 18};
  return pick < events.size() ? events[pick] : events[usual[random() % std::size(usual)]];
}

}  // namespace

TEST_CASE("task: no sequence of events leads to an invalid state or to two results") {
  std::mt19937_64 random(20261124);
  std::size_t results = 0;
  for (int sequence = 0; sequence < 3000; ++sequence) {
    TaskState state;
    std::optional<wire::ResultMessage> first;
    for (int i = 0; i < 40; ++i) {
      const Event event = random_event(random);
      const TaskState before = state;
      Step step = on_event(before, event);
      REQUIRE(broken_invariant(step.next).value_or("") == "");
      if (before.phase == Phase::finished) {
        REQUIRE(step.next == before);
        REQUIRE(step.actions.empty());
      }
      for (const Action& action : step.actions) {
        if (std::holds_alternative<action::SendResult>(action)) {
          REQUIRE(step.next.result.has_value());
          results += first ? 0U : 1U;
          first = first ? first : step.next.result;
          REQUIRE(*first == *step.next.result);
        }
      }
      state = step.next;
    }
  }
  CHECK(results > 100);
}

TEST_CASE("task: an event that comes twice in a row has the effect of one") {
  std::mt19937_64 random(7);
  for (int sequence = 0; sequence < 3000; ++sequence) {
    TaskState state;
    for (int i = 0; i < 30; ++i) {
      const Event event = random_event(random);
      const TaskState once = on_event(state, event).next;
      const bool told_again = std::holds_alternative<event::AssembleFailed>(event);
      const bool retaken = once.phase == Phase::absent;  // declined: the next one is a new task
      // A failure of assembling is reported once for each attempt the machine asks for.
      if (!told_again && !retaken) {
        REQUIRE(on_event(once, event).next.phase == once.phase);
      }
      state = once;
    }
  }
}
