// Ten devices of which three go for ever, two come late and one is slow.
#include <csignal>

#include <boost/asio/steady_timer.hpp>

#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

using namespace std::chrono_literals;

constexpr int slow_device = 4;
const std::set<int> leaving = {1, 2, 3};
const std::set<int> late = {9, 10};

// Lets a device's trainer run a tenth of the time.
class Brake {
 public:
  Brake(Stage& stage, Fleet& fleet) : fleet_(fleet), timer_(stage.loop) { turn(false); }
  ~Brake() {
    timer_.cancel();
    signal(SIGCONT);
  }
  Brake(const Brake&) = delete;
  Brake& operator=(const Brake&) = delete;

 private:
  void turn(bool run) {
    signal(run ? SIGCONT : SIGSTOP);
    timer_.expires_after(run ? 10ms : 90ms);
    timer_.async_wait([this, run](boost::system::error_code cancelled) {
      if (!cancelled) {
        turn(!run);
      }
    });
  }
  void signal(int number) const {
    if (const int pid = fleet_.trainer_pid(slow_device); pid > 0) {
      (void)::kill(pid, number);
    }
  }

  Fleet& fleet_;
  boost::asio::steady_timer timer_;
};

Result<> lose_three(Stage& stage, Fleet& fleet) {
  // In the middle of the first round, when all have their task.
  const Moment training = {"device-3", {".r1.", "-> running"}};
  if (auto seen = at_moment(stage, training, [] {}); !seen) {
    return seen;
  }
  for (const int device : leaving) {
    if (auto killed = fleet.agent(device).kill(); !killed) {
      return killed;
    }
    stage.struck("gone for ever");
    fleet.gone.insert(device);
  }
  return {};
}

Result<> play_churn(Stage& stage, Fleet& fleet) {
  fleet.plan.absent = late;
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  const Brake brake(stage, fleet);
  stage.struck("slow");
  if (auto lost = lose_three(stage, fleet); !lost) {
    return lost;
  }
  for (const int device : late) {
    stage.struck("late");
    if (auto started = fleet.agent(device).start(); !started) {
      return started;
    }
  }
  return fleet.end_run(std::chrono::minutes(5));
}

}  // namespace

void add_fleet_rows(std::vector<Scenario>& table) {
  Scenario scenario;
  scenario.name = "churn";
  scenario.strikes = "3 of 10 devices go for ever, 2 join late, 1 trains ten times slower";
  scenario.when = "the first round";
  scenario.setup = {.name = "ten",
                    .devices = 10,
                    .rounds = 4,
                    .min_fit = 5,
                    .min_available = 8,
                    .deadline_seconds = 15,
                    .model = "softmax"};
  scenario.in_short = true;
  scenario.compare = false;  // who contributes to which round depends on when they came
  scenario.play = play_churn;
  table.push_back(std::move(scenario));
}

}  // namespace flops::faults
