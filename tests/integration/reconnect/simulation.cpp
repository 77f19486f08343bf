#include "simulation.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>
#include <ranges>

#include <boost/json.hpp>

#include "flops/core/file.hpp"
#include "flops/test/wait.hpp"

namespace flops::test {

using std::chrono::steady_clock;

namespace {

// Many times the window of the largest fleet that is simulated, plus the restart of a sanitized coordinator.
constexpr std::chrono::seconds give_up_after{120};
constexpr std::chrono::milliseconds look_every{100};

double seconds_between(steady_clock::time_point from, steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// "VmRSS:     12345 kB"
std::int64_t memory_of(int pid, std::string_view field) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  const std::string status{std::istreambuf_iterator<char>(file), {}};
  const std::size_t at = status.find(field);
  if (at == std::string::npos) {
    return 0;  // gone
  }
  const std::size_t number = status.find_first_of("0123456789", at);
  std::int64_t value = 0;
  std::from_chars(status.data() + number, status.data() + status.size(), value);
  return value;
}

std::size_t busiest_second(std::vector<steady_clock::time_point> moments) {
  std::ranges::sort(moments);
  std::size_t most = 0;
  std::size_t first = 0;
  for (std::size_t last = 0; last < moments.size(); ++last) {
    while (moments[last] - moments[first] >= std::chrono::seconds(1)) {
      ++first;
    }
    most = std::max(most, last - first + 1);
  }
  return most;
}

}  // namespace

boost::json::object to_json(const Figures& f) {
  return {{"killed", f.strike == Strike::broker ? "broker" : "coordinator"},
          {"devices", f.devices},
          {"back", f.back},
          {"known_back", f.known_back},
          {"attempts_while_down", f.failed},
          {"refused", f.refused},
          {"lost_again", f.losses_again},
          {"window_seconds", f.window_seconds},
          {"first_back_seconds", f.first_back_seconds},
          {"last_back_seconds", f.last_back_seconds},
          {"last_known_seconds", f.last_known_seconds},
          {"busiest_second", f.busiest_second},
          {"inbox_peak_messages", f.inbox_peak_messages},
          {"inbox_peak_bytes", f.inbox_peak_bytes},
          {"inbox_limit_bytes", f.inbox_limit_bytes},
          {"inbox_waits", f.inbox_waits},
          {"coordinator_resident_kib", f.coordinator_resident_kib},
          {"coordinator_peak_kib", f.coordinator_peak_kib}};
}

Result<std::unique_ptr<Simulation>> Simulation::start(const std::filesystem::path& programs, std::size_t devices) {
  std::unique_ptr<Simulation> made(new Simulation(programs));
  const std::string config = "fleet = \"test\"\n[state]\nfolder = \"state\"\n[api]\nport = 0\n[broker]\nport = 0\n";
  auto done = replace_file(made->folder_ / "coordinator.toml", config);
  done = done ? made->start_coordinator() : done;
  done = done ? made->enrol(devices) : done;
  if (!done) {
    return fail(done.error(), made->coordinator_log());
  }
  return made;
}

std::string Simulation::coordinator_log() const {
  return read_file(folder_ / "log", 16U << 20U).value_or("");
}

Result<> Simulation::until(const char* what, const std::function<bool()>& condition) {
  if (!run_until(loop_, condition, give_up_after)) {
    return fail(ErrorKind::transient, "gave up waiting for {}", what);
  }
  return {};
}

Result<> Simulation::start_coordinator() {
  const auto state = folder_ / "state";
  std::error_code ignored;
  std::filesystem::remove(state / "endpoints.json", ignored);
  exit_.reset();
  process::Command command;
  command.program = programs_ / "flops-coordinator";
  command.arguments = {"--config", (folder_ / "coordinator.toml").string()};
  command.log_file = folder_ / "log";
  auto child = process::Child::spawn(loop_.get_executor(), command, [this](process::Exit exit) { exit_ = exit; });
  if (!child) {
    return fail(child.error());
  }
  coordinator_ = *std::move(child);
  auto there = until("the coordinator", [&] { return exit_ || std::filesystem::exists(state / "endpoints.json"); });
  if (!there || exit_) {
    return there ? fail(ErrorKind::permanent, "the coordinator {}", exit_->describe()) : there;
  }
  auto api = faults::CoordinatorApi::of(state);
  if (!api) {
    return fail(api.error());
  }
  api_ = *std::move(api);
  return {};
}

Result<> Simulation::kill_coordinator() {
  coordinator_->signal(SIGKILL);
  return until("the coordinator's end", [this] { return exit_.has_value(); });
}

Result<> Simulation::kill_broker() {
  const auto endpoints = boost::json::parse(read_file(folder_ / "state" / "endpoints.json").value_or("{}"));
  const auto* pid = endpoints.as_object().if_contains("broker_pid");
  if (pid == nullptr || pid->to_number<int>() <= 0 || ::kill(pid->to_number<int>(), SIGKILL) != 0) {
    return fail(ErrorKind::permanent, "the broker cannot be killed");
  }
  return {};
}

Result<> Simulation::enrol(std::size_t count) {
  auto token = api_->post("tokens", {{"uses", count}});
  if (!token) {
    return fail(token.error());
  }
  for (std::size_t n = 0; n < count; ++n) {
    const std::string name = fmt::format("sim-{}", n);
    auto device = SimulatedDevice::enrol(loop_.get_executor(), folder_ / name, name, api_->address(),
                                         std::string(token->at("token").as_string()), serving_);
    if (!device) {
      return fail(device.error());
    }
    devices_.push_back(*std::move(device));
  }
  for (const auto& device : devices_) {
    device->connect();
  }
  // The window follows the number of devices: all have to have heard the last one.
  auto told = status();
  if (!told) {
    return fail(told.error());
  }
  const auto window = told->at("reconnect_window_seconds").to_number<std::int64_t>();
  return until("the fleet to be there", [this, window] {
    return all_back() &&
           std::ranges::all_of(devices_, [window](const auto& device) { return device->window().count() == window; });
  });
}

bool Simulation::all_back() const {
  return std::ranges::all_of(devices_, [](const auto& device) { return device->back(); });
}

std::size_t Simulation::known_back() const {
  auto answer = api_->get("devices");
  if (!answer) {
    return 0;
  }
  const std::string generation = std::to_string(generation_);
  return static_cast<std::size_t>(
      std::ranges::count_if(answer->at("devices").as_array(), [&](const boost::json::value& device) {
        const auto* label = device.at("labels").as_object().if_contains("generation");
        return device.at("online").as_bool() && label != nullptr && label->as_string() == generation;
      }));
}

Result<Figures> Simulation::strike(Strike strike) {
  ++generation_;
  serving_ = false;
  for (const auto& device : devices_) {
    device->new_generation(generation_);
  }
  const std::int64_t window = devices_.front()->window().count();
  const auto struck = steady_clock::now();
  auto done = strike == Strike::broker ? kill_broker() : kill_coordinator();
  done = done && strike == Strike::coordinator ? start_coordinator() : done;
  done = done ? until("the devices to come back", [this] { return all_back(); }) : done;
  auto look = steady_clock::now();
  steady_clock::time_point last_known;
  done = done ? until("the coordinator to know it",
                      [this, &look, &last_known] {
                        if (steady_clock::now() < look) {
                          return false;
                        }
                        const bool all = known_back() == devices_.size();
                        last_known = steady_clock::now();
                        look = last_known + look_every;
                        return all;
                      })
              : done;
  Figures figures = measure(strike, struck);
  figures.window_seconds = window;
  figures.last_known_seconds = seconds_between(struck, last_known);
  if (!done) {
    return fail(done.error().kind, "{}: {}", done.error().what, boost::json::serialize(to_json(figures)));
  }
  return figures;
}

Figures Simulation::measure(Strike strike, steady_clock::time_point struck) const {
  Figures f;
  f.strike = strike;
  f.devices = devices_.size();
  std::vector<steady_clock::time_point> links;
  f.first_back_seconds = give_up_after.count();
  for (const auto& device : devices_) {
    f.failed += device->counts().failed;
    f.refused += device->counts().refused;
    f.losses_again += device->counts().losses_again;
    if (device->back()) {
      ++f.back;
      links.push_back(device->linked_at());
      f.first_back_seconds = std::min(f.first_back_seconds, seconds_between(struck, device->back_at()));
      f.last_back_seconds = std::max(f.last_back_seconds, seconds_between(struck, device->back_at()));
    }
  }
  f.busiest_second = busiest_second(std::move(links));
  f.known_back = known_back();
  if (auto now = status()) {
    const auto& inbox = now->at("inbox");
    f.inbox_peak_messages = inbox.at("peak_messages").to_number<std::uint64_t>();
    f.inbox_peak_bytes = inbox.at("peak_bytes").to_number<std::uint64_t>();
    f.inbox_limit_bytes = inbox.at("limit_bytes").to_number<std::uint64_t>();
    f.inbox_waits = inbox.at("waits").to_number<std::uint64_t>();
  }
  f.coordinator_resident_kib = memory_of(coordinator_->pid(), "VmRSS");
  f.coordinator_peak_kib = memory_of(coordinator_->pid(), "VmHWM");
  return f;
}

}  // namespace flops::test
