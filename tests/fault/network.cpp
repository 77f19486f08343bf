#include "network.hpp"

#include "flops/core/file.hpp"

namespace flops::faults {
namespace {

constexpr const char* bridge = "faults0";
constexpr const char* coordinator_address = "10.77.0.1";

std::string address_of(int device) {
  return fmt::format("10.77.0.{}", 10 + device);
}

Result<> run_all(Stage& stage, const std::vector<std::vector<std::string>>& commands) {
  for (std::vector<std::string> command : commands) {
    const std::string program = command.front();
    command.erase(command.begin());
    if (auto done = run_tool(stage, program, std::move(command)); !done) {
      return done;
    }
  }
  return {};
}

Result<> connect(Stage& stage, int device) {
  const std::string space = Fleet::device_name(device);
  const std::string ours = fmt::format("cable{}", device);
  return run_all(stage, {{"ip", "netns", "add", space},
                         {"ip", "link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", space},
                         {"ip", "link", "set", ours, "master", bridge, "up"},
                         {"ip", "-n", space, "addr", "add", address_of(device) + "/24", "dev", "eth0"},
                         {"ip", "-n", space, "link", "set", "eth0", "up"},
                         {"ip", "-n", space, "link", "set", "lo", "up"}});
}

}  // namespace

Result<Network> Network::lay(Stage& stage, Fleet& fleet) {
  if (auto made = make_folder("/run/netns"); !made) {
    return fail(made.error());
  }
  auto laid = run_all(stage, {{"ip", "link", "add", bridge, "type", "bridge"},
                              {"ip", "addr", "add", std::string(coordinator_address) + "/24", "dev", bridge},
                              {"ip", "link", "set", bridge, "up"}});
  for (int device = 1; laid && device <= fleet.setup().devices; ++device) {
    laid = connect(stage, device);
    process::Command& agent = fleet.agent(device).command();
    std::vector<std::string> arguments = {"netns", "exec", Fleet::device_name(device), agent.program.string()};
    arguments.insert(arguments.end(), agent.arguments.begin(), agent.arguments.end());
    agent.program = "ip";
    agent.arguments = std::move(arguments);
  }
  if (!laid) {
    return fail(laid.error());
  }
  fleet.plan.listen = "0.0.0.0";
  fleet.plan.public_host = coordinator_address;
  fleet.plan.keep_alive_seconds = 5;
  return Network(stage);
}

Result<> Network::filter(const std::string& change, int device) {
  const std::string address = address_of(device);
  return run_all(*stage_, {{"iptables", "-w", change, "INPUT", "-s", address, "-j", "DROP"},
                           {"iptables", "-w", change, "OUTPUT", "-d", address, "-j", "DROP"}});
}

Result<> Network::cut(int device) {
  stage_->struck("link");
  return filter("-I", device);
}

Result<> Network::mend(int device) {
  return filter("-D", device);
}

}  // namespace flops::faults
