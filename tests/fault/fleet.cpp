#include "fleet.hpp"

#include <charconv>
#include <optional>

#include <boost/json.hpp>

#include "flops/core/file.hpp"
#include "flops/test/digits.hpp"

namespace flops::faults {

namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t train_samples = 320;
constexpr int run_seed = 11;

// The number behind `words` in a log line.
std::optional<int> number_after(const std::string& line, std::string_view words) {
  const std::size_t at = line.find(words);
  int value = 0;
  if (at == std::string::npos) {
    return std::nullopt;
  }
  const char* const first = line.data() + at + words.size();
  return std::from_chars(first, line.data() + line.size(), value).ec == std::errc() ? std::optional(value)
                                                                                    : std::nullopt;
}

}  // namespace

Fleet::Fleet(Stage& stage, Setup setup) : stage_(stage), setup_(std::move(setup)) {
  process::Command command;
  command.program = stage_.programs / "flops-coordinator";
  command.arguments = {"--config", (stage_.folder / "coordinator.toml").string()};
  coordinator_ = std::make_unique<Program>(stage_, "coordinator", command);
  for (int device = 1; device <= setup_.devices; ++device) {
    process::Command agent;
    agent.program = stage_.programs / "flops-agent";
    agent.arguments = {"run", "--config", (stage_.folder / (device_name(device) + ".toml")).string()};
    agents_.emplace(device, std::make_unique<Program>(stage_, device_name(device), agent));
  }
  stage_.logs->listen([this](const std::string& program, const std::string& line) { read_line(program, line); });
}

std::filesystem::path Fleet::state_of(int device) const {
  return stage_.folder / device_name(device);
}

int Fleet::trainer_pid(int device) const {
  const auto found = trainers_.find(device_name(device));
  return found == trainers_.end() ? -1 : found->second;
}

void Fleet::read_line(const std::string& program, const std::string& line) {
  if (program == "coordinator") {
    if (const auto pid = number_after(line, "mosquitto runs as process ")) {
      broker_pid_ = *pid;
    } else if (line.contains("broker: mosquitto ")) {
      broker_pid_ = -1;
    } else if (line.contains("connected to the broker")) {
      stage_.recovered("broker");
      stage_.recovered("coordinator");
    }
    return;
  }
  if (const auto pid = number_after(line, "trainer: worker "); pid && line.ends_with(" started")) {
    trainers_[program] = *pid;
    stage_.recovered("trainer");
  } else if (line.contains("trainer: worker ")) {
    trainers_.erase(program);
  } else if (line.contains("no connection to the broker") || line.contains("tasks taken up")) {
    linked_.erase(program);
  } else if (line.contains("connected to the broker")) {
    linked_.insert(program);
    stage_.recovered("agent");
    stage_.recovered("link");
  }
}

Result<> Fleet::begin_coordinator() {
  const std::string text = fmt::format(
      "fleet = \"{}\"\nlog_level = \"debug\"\n[state]\nfolder = \"{}\"\n"
      "[api]\naddress = \"{}\"\npublic_host = \"{}\"\nport = 0\n"
      "[broker]\nmode = \"managed\"\naddress = \"{}\"\npublic_host = \"{}\"\nport = 0\n",
      fleet_name, coordinator_state().string(), plan.listen, plan.public_host, plan.listen, plan.public_host);
  if (auto written = replace_file(stage_.folder / "coordinator.toml", text); !written) {
    return written;
  }
  if (auto started = coordinator_->start(); !started) {
    return started;
  }
  return stage_.until_polled("the coordinator to be ready", [this] { return ask("devices").has_value(); });
}

Result<> Fleet::write_configuration(int device) const {
  const auto data = stage_.folder / "data" / device_name(device);
  if (auto made = make_folder(data); !made) {
    return made;
  }
  test::write_digits(data, "train", train_samples, static_cast<std::uint32_t>(device) * 2);
  test::write_digits(data, "test", test_samples, static_cast<std::uint32_t>(device) * 2 + 1);
  const std::string text = fmt::format(
      "device = \"{}\"\nlog_level = \"debug\"\n[state]\nfolder = \"{}\"\n"
      "[trainer]\nprogram = \"{}\"\nthreads = 1\nbackground = false\ncheckpoint_batches = 2\n"
      "checkpoint_to_disk = \"0s\"\n[mqtt]\nkeep_alive = \"{}s\"\nanswer_timeout = \"{}s\"\n"
      "[offline]\ncontinue = {}\n[[dataset]]\ntag = \"{}\"\nformat = \"idx\"\ntrain_samples = \"{}\"\ntrain_labels = "
      "\"{}\"\n"
      "test_samples = \"{}\"\ntest_labels = \"{}\"\n",
      device_name(device), state_of(device).string(), (stage_.programs / "flops-trainer").string(),
      plan.keep_alive_seconds, plan.answer_timeout_seconds, plan.offline_continue, data_tag,
      (data / "train-images").string(), (data / "train-labels").string(), (data / "test-images").string(),
      (data / "test-labels").string());
  const std::string labels =
      setup_.clusters > 0 ? fmt::format("[labels]\ncluster = \"c{}\"\n", (device - 1) % setup_.clusters + 1) : "";
  return replace_file(stage_.folder / (device_name(device) + ".toml"), text + labels);
}

Result<> Fleet::enrol(int device) {
  if (auto written = write_configuration(device); !written) {
    return written;
  }
  auto api = CoordinatorApi::of(coordinator_state());
  auto token =
      api ? api->post("tokens", {{"uses", 1}, {"expires_seconds", 3600}}) : Result<json::object>(fail(api.error()));
  if (!token) {
    return fail(token.error(), "making an enrolment token");
  }
  // With everything that the agent is started with, a network namespace for example.
  const process::Command& agent = agents_.at(device)->command();
  std::vector<std::string> arguments = agent.arguments;
  const auto verb = std::ranges::find(arguments, "run");
  if (verb == arguments.end()) {
    return fail(ErrorKind::bug, "the agent's command has no 'run'");
  }
  *verb = "enroll";
  arguments.insert(arguments.end(),
                   {"--coordinator", api->address(), "--token", token->at("token").as_string().c_str()});
  return run_tool(stage_, agent.program.string(), arguments);
}

Result<> Fleet::wait_online(const std::set<int>& devices) {
  return stage_.until_polled(fmt::format("{} devices to be online", devices.size()), [&] {
    auto answer = ask("devices");
    if (!answer) {
      return false;
    }
    std::set<std::string> online;
    for (const json::value& device : answer->at("devices").as_array()) {
      if (device.at("online").as_bool()) {
        online.insert(device.at("id").as_string().c_str());
      }
    }
    return std::ranges::all_of(devices, [&](int device) { return online.contains(device_name(device)); });
  });
}

Result<> Fleet::begin() {
  if (auto begun = begin_coordinator(); !begun) {
    return begun;
  }
  std::set<int> present;
  for (const auto& [device, agent] : agents_) {
    if (auto enrolled = enrol(device); !enrolled) {
      return enrolled;
    }
    if (plan.absent.contains(device)) {
      continue;
    }
    if (auto started = agent->start(); !started) {
      return started;
    }
    present.insert(device);
  }
  return wait_online(present);
}

Result<> Fleet::begin_run() {
  auto api = CoordinatorApi::of(coordinator_state());
  if (!api) {
    return fail(api.error());
  }
  json::object spec{{"model", setup_.model},
                    {"data", data_tag},
                    {"rounds", setup_.rounds},
                    {"seed", run_seed},
                    {"min_fit", setup_.min_fit},
                    {"min_available", setup_.min_available},
                    {"deadline_seconds", setup_.deadline_seconds},
                    {"training", {{"epochs", 1}, {"batch", 32}, {"learning_rate", 0.05}, {"momentum", 0.9}}}};
  if (setup_.clusters > 0) {
    spec["cycles"] = setup_.cycles;
    spec["clusters"] = "label:cluster";
    spec["global"] = {{"min_fit", setup_.clusters}, {"deadline_seconds", setup_.deadline_seconds}};
  }
  run_ = fmt::format("run-{}", ++runs_started_);
  auto started = api->post("runs", spec);
  if (!started) {
    return fail(started.error(), "starting the run");
  }
  return {};
}

Result<json::object> Fleet::ask(const std::string& path) const {
  auto api = CoordinatorApi::of(coordinator_state());
  if (!api) {
    return fail(api.error());
  }
  return api->get(path);
}

std::string Fleet::run_state() const {
  auto answer = ask("runs/" + run_);
  return answer ? std::string(answer->at("state").as_string().c_str()) : std::string();
}

// Names the devices that are not done, empty when all are.
std::string Fleet::open_work() const {
  auto answer = ask("devices");
  if (!answer) {
    return "the coordinator does not answer";
  }
  for (const json::value& entry : answer->at("devices").as_array()) {
    const std::string id = entry.at("id").as_string().c_str();
    const bool expected = std::ranges::any_of(agents_, [&](const auto& agent) {
      return agent.second->name() == id && agent.second->running() && !gone.contains(agent.first);
    });
    const json::string activity = entry.at("activity").is_string() ? entry.at("activity").as_string() : json::string();
    if (expected && (!entry.at("online").as_bool() || activity != "idle")) {
      return fmt::format("{} is {}", id, entry.at("online").as_bool() ? activity.c_str() : "offline");
    }
  }
  return "";
}

Result<> Fleet::end_run(std::chrono::seconds deadline) {
  std::string state;
  const auto over = [&] {
    state = run_state();
    return state == "finished" || state == "failed" || state == "stopped";
  };
  if (auto ended = stage_.until_polled("the run to end", over, deadline); !ended) {
    return fail(ended.error(), fmt::format("the run is '{}'", run_state()));
  }
  if (state != "finished") {
    auto answer = ask("runs/" + run_);
    return fail(ErrorKind::permanent, "the run {}: {}", state,
                answer ? answer->at("reason").as_string().c_str() : answer.error().what);
  }
  if (auto idle = stage_.until_polled("the devices to be done", [this] { return open_work().empty(); }); !idle) {
    return fail(idle.error(), open_work());
  }
  return {};
}

void Fleet::stop() {
  for (const auto& [device, agent] : agents_) {
    if (auto stopped = agent->stop(); !stopped) {
      stage_.problem(stopped.error().what);
    }
  }
  if (auto stopped = coordinator_->stop(); !stopped) {
    stage_.problem(stopped.error().what);
  }
}

}  // namespace flops::faults
