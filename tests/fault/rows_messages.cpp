// Messages that come twice, in another order, and long after their time.
#include <algorithm>

#include "replayer.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

constexpr std::size_t too_few = 30;  // a run of three devices says more than this

Result<std::unique_ptr<Replayer>> begin_with_stranger(Stage& stage, Fleet& fleet) {
  if (auto begun = fleet.begin(); !begun) {
    return fail(begun.error());
  }
  return Replayer::join(stage, fleet);
}

Result<> expect_heard(const Replayer& replayer) {
  if (replayer.heard().size() < too_few) {
    return fail(ErrorKind::permanent, "only {} messages were heard", replayer.heard().size());
  }
  return {};
}

Moment round_begins(const std::string& run, int round) {
  return {"coordinator", {fmt::format("task {}.r{}.", run, round), "goes to"}};
}

Result<> play_twice(Stage& stage, Fleet& fleet) {
  auto stranger = begin_with_stranger(stage, fleet);
  if (!stranger) {
    return fail(stranger.error());
  }
  stage.struck("messages");
  (*stranger)->echo(true);
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto ended = fleet.end_run(); !ended) {
    return ended;
  }
  return expect_heard(**stranger);
}

// At the beginning of some rounds, everything that was said so far is said again, the newest first.
Result<> play_reversed(Stage& stage, Fleet& fleet) {
  auto stranger = begin_with_stranger(stage, fleet);
  if (!stranger) {
    return fail(stranger.error());
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  for (const int round : {3, 6, 9}) {
    if (auto seen = at_moment(stage, round_begins("run-1", round), [] {}); !seen) {
      return seen;
    }
    std::vector<mqtt::Message> messages = (*stranger)->heard();
    std::ranges::reverse(messages);
    if (auto said = (*stranger)->say(messages); !said) {
      return said;
    }
  }
  if (auto ended = fleet.end_run(); !ended) {
    return ended;
  }
  return expect_heard(**stranger);
}

// The whole first run is said again, shuffled, in the middle of the second.
Result<> play_old_run(Stage& stage, Fleet& fleet) {
  auto stranger = begin_with_stranger(stage, fleet);
  if (!stranger) {
    return fail(stranger.error());
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto ended = fleet.end_run(); !ended) {
    return ended;
  }
  if (auto heard = expect_heard(**stranger); !heard) {
    return heard;
  }
  std::vector<mqtt::Message> messages = (*stranger)->heard();
  std::ranges::shuffle(messages, stage.random);
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, round_begins("run-2", 2), [] {}); !seen) {
    return seen;
  }
  if (auto said = (*stranger)->say(messages); !said) {
    return said;
  }
  return fleet.end_run();
}

// A device's own words again while it is away.
Result<> play_absent(Stage& stage, Fleet& fleet) {
  auto stranger = begin_with_stranger(stage, fleet);
  if (!stranger) {
    return fail(stranger.error());
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, {"device-2", {".r3.", "-> running"}}, [] {}); !seen) {
    return seen;
  }
  if (auto stopped = fleet.agent(2).stop(); !stopped) {
    return stopped;
  }
  std::vector<mqtt::Message> own;
  std::ranges::copy_if((*stranger)->heard(), std::back_inserter(own), [](const mqtt::Message& message) {
    return message.topic.contains("/device-2/up/") || message.topic.ends_with("/device-2/state");
  });
  for (int time = 0; time < 2; ++time) {
    if (auto said = (*stranger)->say(own); !said) {
      return said;
    }
  }
  if (auto started = fleet.agent(2).start(); !started) {
    return started;
  }
  if (auto ended = fleet.end_run(); !ended) {
    return ended;
  }
  return own.empty() ? fail(ErrorKind::permanent, "nothing of the device was heard") : Result<>();
}

}  // namespace

void add_message_rows(std::vector<Scenario>& table) {
  const auto add = [&](const std::string& name, const std::string& when, const Setup& setup, bool in_short,
                       Result<> (*play)(Stage&, Fleet&)) {
    Scenario scenario;
    scenario.name = "messages-" + name;
    scenario.strikes = "commands, answers and chunks are said again";
    scenario.when = when;
    scenario.setup = setup;
    scenario.in_short = in_short;
    scenario.play = play;
    table.push_back(std::move(scenario));
  };
  add("twice", "each at once", small_setup(), true, play_twice);
  add("reversed", "at the beginning of rounds 3, 6, 9, newest first", long_setup(), true, play_reversed);
  add("old-run", "those of a whole run, shuffled, in round 2 of the next", small_setup(), true, play_old_run);
  add("absent", "a device's own, while it is away in round 3", long_setup(), false, play_absent);
}

}  // namespace flops::faults
