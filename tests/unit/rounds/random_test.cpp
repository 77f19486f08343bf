// Whatever happens in whatever order, the promises hold.
#include <algorithm>
#include <random>
#include <utility>

#include <doctest/doctest.h>

#include "script.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace flops::rounds::testing;

namespace {

constexpr int most_devices = 6;

class Fleet {
 public:
  explicit Fleet(unsigned seed) : random_(seed) {
    RunSpec& spec = run_.state.spec;
    spec.data = "d";
    spec.rounds = 1 + below(5);
    spec.min_fit = spec.min_available = 1 + below(3);
    spec.max_staleness = below(4);
    if (below(2) == 0) {
      spec.mode = Mode::async;
      spec.buffer = spec.min_fit + below(2);
      spec.min_available = spec.buffer;
    } else {
      spec.over_select = below(2) == 0 ? 0.5 : 0;
      spec.fraction = below(2) == 0 ? 0.5 : 1;
    }
  }

  void anything_happens() {
    const int n = 1 + static_cast<int>(below(most_devices));
    switch (below(11)) {
      case 0: come_or_go(n); break;
      case 1:
        run_.clock.advance(std::chrono::seconds(below(700)));
        feed(Tick{});
        break;
      case 2: feed(TaskFailed{device(n), some_task(n), "broken"}); break;
      case 3: feed(Initialised{device(n), some_task(n), model('a')}); break;
      case 4:
      case 5:
      case 6: feed(Contributed{device(n), some_task(n)}); break;
      case 7: feed(Aggregated{model(static_cast<char>('a' + run_.state.round))}); break;
      case 8: feed(Evaluated{device(n), some_task(n)}); break;
      case 9: restart(); break;
      case 10:
        if (below(200) == 0) {
          feed(StopRequested{});
        }
        break;
      default: break;
    }
  }

  // From here on everybody is there and does what is asked.
  void everybody_works() {
    run_.feed(DevicesAvailable{devices(most_devices)});
    for (int i = 0; i < 1000 && !is_over(run_.state.phase); ++i) {
      run_.clock.advance(std::chrono::seconds(run_.state.spec.deadline_seconds));
      feed(Tick{});
      feed(Aggregated{model(static_cast<char>('a' + run_.state.round))});
      for (int n = 1; n <= most_devices; ++n) {
        feed(Initialised{device(n), current_task(n), model('a')});
        feed(Contributed{device(n), current_task(n)});
        feed(Evaluated{device(n), current_task(n)});
      }
    }
  }

  [[nodiscard]] bool over() const { return is_over(run_.state.phase); }
  [[nodiscard]] const RunState& state() const { return run_.state; }

 private:
  std::int64_t below(std::int64_t limit) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(limit));
  }

  TaskId current_task(int n) const {
    const auto found = run_.state.participants.find(device(n));
    return found == run_.state.participants.end() ? TaskId() : found->second.task;
  }
  // Mostly the newest one of the device; sometimes one it had before.
  TaskId some_task(int n) {
    const auto& had = given_[device(n)];
    return had.empty() ? TaskId() : below(4) == 0 ? had[static_cast<std::size_t>(below(std::ssize(had)))] : had.back();
  }

  void come_or_go(int n) {
    std::set<DeviceId> online = run_.state.available;
    if (online.erase(device(n)) == 0) {
      online.insert(device(n));
    }
    feed(DevicesAvailable{online});
  }

  void restart() {
    if (is_over(run_.state.phase) || run_.state.phase == Phase::waiting) {
      return;
    }
    const std::set<DeviceId> online = std::exchange(run_.state.available, {});
    run_.state.overdue = false;
    restarting_ = true;
    check(run_.state, on_restart(run_.state, run_.clock.steady()));
    restarting_ = false;
    feed(DevicesAvailable{online});
  }

  void feed(const Event& event) {
    const RunState before = run_.state;
    const auto actions = run_.feed(event);
    if (const auto* update = std::get_if<Contributed>(&event)) {
      count(before, *update);
    }
    check(before, actions);
  }

  // The shell counts an update when the machine takes it.
  void count(const RunState& before, const Contributed& update) {
    const auto was = before.participants.find(update.device);
    const bool summing = before.phase == Phase::fitting || before.phase == Phase::aggregating;
    const bool taken = summing && was != before.participants.end() && was->second.task == update.task &&
                       was->second.answer == Answer::none && was->second.kind == wire::TaskKind::train;
    if (!taken) {
      return;
    }
    REQUIRE(counted_.insert(update.task).second);                        // each task once
    REQUIRE(contributors_.emplace(before.round, update.device).second);  // each device once a round
    REQUIRE(staleness(before, was->second) <= before.spec.max_staleness);
  }

  void check(const RunState& before, const std::vector<Action>& actions) {
    for (const SendTask& sent : all<SendTask>(actions)) {
      if (!restarting_) {
        // Never a second task beside one without an answer, and never one that was given before.
        const auto had = before.participants.find(sent.device);
        const bool open = had != before.participants.end() && had->second.answer == Answer::none;
        const auto told = all<CancelTask>(actions);
        const bool cancelled = std::ranges::any_of(
            told, [&](const CancelTask& cancel) { return open && cancel.task == had->second.task; });
        const bool answered = open && ends_with_the_next(before, had->second);
        REQUIRE((!open || cancelled || answered));
        REQUIRE(std::ranges::find(given_[sent.device], sent.task) == given_[sent.device].end());
        given_[sent.device].push_back(sent.task);
      }
    }
    closes_ += restarting_ ? 0 : static_cast<std::int64_t>(all<CloseRound>(actions).size());
    overs_ += static_cast<int>(all<RunOver>(actions).size());
    REQUIRE(run_.state.round <= run_.state.spec.rounds);
    REQUIRE(closes_ <= run_.state.round);
    REQUIRE(overs_ == (is_over(run_.state.phase) ? 1 : 0));
    REQUIRE((all<RunOver>(actions).empty() || std::holds_alternative<RunOver>(actions.back())));
    for (const auto& [id, participant] : run_.state.participants) {
      const bool owes = participant.answer == Answer::none && run_.state.phase == Phase::fitting;
      REQUIRE((!owes || staleness(run_.state, participant) <= run_.state.spec.max_staleness));
    }
  }

  // The initial task, and a late one that failed, end with the event that also gives the next.
  [[nodiscard]] static bool ends_with_the_next(const RunState& before, const Participant& was) {
    return was.kind == wire::TaskKind::init || staleness(before, was) > 0;
  }

  std::mt19937_64 random_;
  Run run_;
  std::map<DeviceId, std::vector<TaskId>> given_;
  std::set<TaskId> counted_;
  std::set<std::pair<std::int64_t, DeviceId>> contributors_;
  std::int64_t closes_ = 0;
  int overs_ = 0;
  bool restarting_ = false;
};

}  // namespace

TEST_CASE("run: any sequence of events keeps the promises, and with willing devices the run ends") {
  int finished = 0;
  for (unsigned trial = 0; trial < 2000; ++trial) {
    CAPTURE(trial);
    Fleet fleet(trial);
    for (int step = 0; step < 150; ++step) {
      fleet.anything_happens();
    }
    fleet.everybody_works();
    REQUIRE(fleet.over());
    finished += fleet.state().phase == Phase::finished ? 1 : 0;
  }
  CHECK(finished > 1000);
}
