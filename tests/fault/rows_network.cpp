// Links that swallow packets: TCP connections that are half open, for short, for long, and again and again.
#include "network.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

using namespace std::chrono_literals;

struct Cut {
  std::vector<int> devices;
  Moment at;
  std::chrono::milliseconds dark{5000};
  std::chrono::milliseconds light{0};  // between two cuts
  int times = 1;
};

Result<> for_all(const std::vector<int>& devices, const std::function<Result<>(int)>& change) {
  for (const int device : devices) {
    if (auto changed = change(device); !changed) {
      return changed;
    }
  }
  return {};
}

Result<> cut_links(Stage& stage, Network& network, const Cut& cut) {
  for (int time = 0; time < cut.times; ++time) {
    if (auto done = for_all(cut.devices, [&](int device) { return network.cut(device); }); !done) {
      return done;
    }
    stage.let_pass(cut.dark);
    if (auto done = for_all(cut.devices, [&](int device) { return network.mend(device); }); !done) {
      return done;
    }
    stage.let_pass(cut.light);
  }
  return {};
}

Result<> play_cut(Stage& stage, Fleet& fleet, const Cut& cut) {
  auto network = Network::lay(stage, fleet);
  if (!network) {
    return fail(network.error());
  }
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  // iptables is run on the loop, so not inside the log's callback: a few milliseconds later.
  if (auto seen = at_moment(stage, cut.at, [] {}); !seen) {
    return seen;
  }
  if (auto done = cut_links(stage, *network, cut); !done) {
    return done;
  }
  return fleet.end_run(std::chrono::minutes(4));
}

}  // namespace

void add_network_rows(std::vector<Scenario>& table) {
  const auto add = [&](const std::string& name, const std::string& strikes, Cut cut, bool in_short) {
    Scenario scenario;
    scenario.name = "link-" + name;
    scenario.strikes = strikes;
    scenario.when = fmt::format("{}: {}", cut.at.program, fmt::join(cut.at.words, " "));
    scenario.setup = small_setup();
    scenario.in_short = in_short;
    scenario.sealed = true;
    scenario.play = [cut = std::move(cut)](Stage& stage, Fleet& fleet) { return play_cut(stage, fleet, cut); };
    table.push_back(std::move(scenario));
  };
  const Moment training = {"device-2", {".r2.", "-> running"}};
  const Moment fetching = {"device-2", {".r2.", "-> fetching"}};
  const Moment uploading = {"device-2", {".r2.", "-> uploading"}};
  add("5s-fetching", "one device's packets dropped for 5 s", {{2}, fetching, 5s}, false);
  add("5s-training", "one device's packets dropped for 5 s", {{2}, training, 5s}, false);
  add("5s-uploading", "one device's packets dropped for 5 s", {{2}, uploading, 5s}, false);
  add("20s-all", "all devices' packets dropped for 20 s", {{1, 2, 3}, uploading, 20s}, true);
  add("60s-uploading", "one device's packets dropped for 60 s", {{2}, uploading, 60s}, false);
  add("60s-all", "all devices' packets dropped for 60 s", {{1, 2, 3}, training, 60s}, false);
  add("flapping", "all links flap, 1 s on and off, 20 times", {{1, 2, 3}, fetching, 1s, 1s, 20}, false);
}

}  // namespace flops::faults
