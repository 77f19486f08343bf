#include "state_sequence.hpp"

#include <doctest/doctest.h>

using flops::agent::StateSequence;

TEST_CASE("state sequence: a will is newer than the states of its connection and older than those of the next") {
  StateSequence sequence;
  const auto first_will = sequence.next_connection();
  const auto first = sequence.next_state();
  const auto second = sequence.next_state();
  CHECK(first > 0);  // 0 means that it is not said
  CHECK(second > first);
  CHECK(first_will > second);
  const auto second_will = sequence.next_connection();
  const auto third = sequence.next_state();
  CHECK(third > first_will);
  CHECK(second_will > third);
}

TEST_CASE("state sequence: an attempt that fails uses up its range, and nothing else changes") {
  StateSequence sequence;
  (void)sequence.next_connection();
  const auto before = sequence.next_state();
  const auto failed = sequence.next_connection();
  const auto will = sequence.next_connection();
  const auto after = sequence.next_state();
  CHECK(before < failed);
  CHECK(failed < after);
  CHECK(after < will);
}
