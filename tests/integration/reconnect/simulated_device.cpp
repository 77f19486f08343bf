#include "simulated_device.hpp"

#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/file.hpp"
#include "flops/wire/messages.hpp"

namespace flops::test {

using std::chrono::steady_clock;

Result<std::unique_ptr<SimulatedDevice>> SimulatedDevice::enrol(const boost::asio::any_io_executor& loop,
                                                                const std::filesystem::path& folder,
                                                                const std::string& name, const std::string& coordinator,
                                                                const std::string& token, bool& serving) {
  auto id = DeviceId::parse(name);
  if (!id) {
    return fail(id.error());
  }
  if (auto made = make_folder(folder, 0700); !made) {
    return fail(made.error());
  }
  auto identity = agent::enrol(folder, {*id}, coordinator, token);
  if (!identity) {
    return fail(identity.error(), fmt::format("enrolling {}", name));
  }
  std::unique_ptr<SimulatedDevice> device(new SimulatedDevice(serving));
  SimulatedDevice* raw = device.get();
  device->id_ = *id;
  agent::Config config;
  config.device = *id;
  wire::DeviceState will;
  will.lost = true;
  will.session = name;
  will.activity = "idle";
  agent::Link::Handlers handlers;
  handlers.up = [raw] { raw->linked(); };
  handlers.down = [raw] { raw->lost(); };
  handlers.message = [raw](const mqtt::Message& message) { raw->heard(message); };
  handlers.attempt = [raw] {
    ++raw->counts_.attempts;
    raw->began_while_serving_ = raw->serving_;
  };
  handlers.failed = [raw](const Error&) { ++(raw->began_while_serving_ ? raw->counts_.refused : raw->counts_.failed); };
  auto link = agent::Link::create(loop, config, *identity, wire::encode(will), 0, std::move(handlers));
  if (!link) {
    return fail(link.error());
  }
  device->link_ = *std::move(link);
  return device;
}

void SimulatedDevice::new_generation(std::uint64_t generation) {
  generation_ = generation;
  counts_ = {};
  back_ = false;
  loss_expected_ = true;
}

void SimulatedDevice::linked() {
  ++counts_.links;
  serving_ = true;
  linked_at_ = steady_clock::now();
  wire::DeviceState state;
  state.online = true;
  state.session = session();
  state.activity = "idle";
  link_->publish(link_->topics().device_state(id_), wire::encode(state), {.qos = 1, .retain = true}, {});
  say_hello();
}

std::string SimulatedDevice::session() const {
  return fmt::format("{}-{}", id_, generation_);
}

void SimulatedDevice::say_hello() {
  wire::Hello hello;
  hello.session = session();
  hello.architecture = "x86_64";
  hello.cores = 1;
  hello.labels = {{"generation", std::to_string(generation_)}};
  link_->publish(link_->topics().up(id_, "hello"), wire::encode(hello), {},
                 [this, generation = generation_](const Result<>& done) {
                   if (done && generation == generation_ && !back_) {
                     back_ = true;
                     back_at_ = steady_clock::now();
                   }
                 });
}

void SimulatedDevice::lost() {
  if (!std::exchange(loss_expected_, false)) {
    ++counts_.losses_again;
  }
}

void SimulatedDevice::heard(const mqtt::Message& message) {
  if (const auto topic = link_->topics().for_device(id_, message.topic); topic && topic->command == "hello") {
    say_hello();
  }
  if (message.topic != link_->topics().status()) {
    return;
  }
  if (auto status = wire::decode<wire::CoordinatorStatus>(message.payload)) {
    window_ = std::chrono::seconds(status->reconnect_window_seconds);
    link_->status_heard(window_);
  }
}

}  // namespace flops::test
