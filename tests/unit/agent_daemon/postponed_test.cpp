#include "postponed.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace flops;
using namespace flops::agent;

namespace {

void run(Postponed& postponed) {
  for (const auto& step : postponed.take()) {
    step();
  }
}

}  // namespace

TEST_CASE("postponed: steps are taken in order, once") {
  Postponed postponed;
  std::string done;
  postponed.add(Postponed::Kind::own, [&] { done += "a"; });
  postponed.add(Postponed::Kind::repeatable, [&] { done += "b"; });
  postponed.add_arrival(TaskId::parse("t1").value(), [&] { done += "c"; });
  CHECK_FALSE(postponed.empty());
  run(postponed);
  CHECK(done == "abc");
  CHECK(postponed.empty());
  run(postponed);
  CHECK(done == "abc");
}

TEST_CASE("postponed: the later steps of a task wait behind one that nobody says again") {
  Postponed postponed;
  const TaskId first = TaskId::parse("t1").value();
  const TaskId second = TaskId::parse("t2").value();
  postponed.add(Postponed::Kind::repeatable, [] {}, first);
  CHECK_FALSE(postponed.holds(first));
  postponed.add(Postponed::Kind::own, [] {}, second);
  CHECK(postponed.holds(second));
  CHECK_FALSE(postponed.holds(first));
  run(postponed);
  CHECK_FALSE(postponed.holds(second));
}

TEST_CASE("postponed: a task arrives once, and not after it was cancelled") {
  Postponed postponed;
  const TaskId first = TaskId::parse("t1").value();
  const TaskId second = TaskId::parse("t2").value();
  std::string done;
  postponed.add_arrival(first, [&] { done += "old"; });
  postponed.add_arrival(second, [&] { done += "second"; });
  postponed.add_arrival(first, [&] { done += "new"; });
  postponed.forget_arrival(second);
  run(postponed);
  CHECK(done == "new");
}

TEST_CASE("postponed: only so much of what comes again is kept, all of our own is") {
  Postponed postponed;
  int own = 0;
  int repeated = 0;
  for (std::size_t i = 0; i < 2 * Postponed::max_repeatable; ++i) {
    postponed.add(Postponed::Kind::repeatable, [&] { ++repeated; });
    postponed.add(Postponed::Kind::own, [&] { ++own; });
  }
  CHECK(postponed.take_dropped());
  CHECK_FALSE(postponed.take_dropped());
  run(postponed);
  CHECK(own == 2 * Postponed::max_repeatable);
  CHECK(repeated == Postponed::max_repeatable);
}
