#include "device.hpp"

#include <algorithm>
#include <optional>
#include <random>

#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/crypto/key.hpp"
#include "flops/tensor/codec.hpp"

namespace flops::test {

tensor::Layout test_layout() {
  return tensor::Layout::create({{"w", {static_cast<std::int64_t>(parameters)}, 0, 0}}).value();
}

std::vector<float> values(float around, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> made(parameters);
  for (float& value : made) {
    value = around * (static_cast<float>(random() % 2001) / 1000.0F - 1.0F);
  }
  return made;
}

std::string encoded(const std::vector<float>& local, const std::vector<float>& base) {
  std::string blob;
  const auto done = tensor::encode(tensor::Codec::lossless, local.size(), tensor::from_memory(local),
                                   base.empty() ? tensor::zeros() : tensor::from_memory(base),
                                   [&](std::span<const std::byte> bytes) -> Result<> {
                                     blob.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                                     return {};
                                   });
  REQUIRE(done.has_value());
  return blob;
}

Device::Device(CoordinatorProcess& coordinator, const std::string& name)
    : coordinator_(coordinator),
      id_(DeviceId::parse(name).value()),
      topics_(FleetId::parse("test").value()),
      key_pem_(crypto::PrivateKey::generate().value().to_pem().value()) {
  REQUIRE(replace_file(folder_ / "key.pem", key_pem_, 0600).has_value());
}

http::ClientResponse Device::enrol(const std::string& token, const std::string& as) {
  const auto key = crypto::PrivateKey::from_pem(key_pem_).value();
  const std::string name = as.empty() ? id_.str() : as;
  const boost::json::object body{
      {"v", 1}, {"token", token}, {"device", name}, {"csr", crypto::make_csr(key, name).value()}};
  auto response = coordinator_.api_with("", "POST", "/v1/enrol", boost::json::serialize(body));
  if (response.status == 200) {
    const auto answer = boost::json::parse(response.body);
    const std::string certificate(answer.at("certificate").as_string());
    const std::string ca(answer.at("ca").as_string());
    REQUIRE(replace_file(folder_ / "certificate.pem", certificate).has_value());
    REQUIRE(replace_file(folder_ / "ca.pem", ca).has_value());
    broker_port_ = answer.at("broker").at("port").to_number<std::uint16_t>();
  }
  return response;
}

mqtt::Options Device::options() const {
  mqtt::Options options;
  options.host = "127.0.0.1";
  options.port = broker_port_;
  options.client_id = id_.str();
  options.ca_file = folder_ / "ca.pem";
  options.certificate_file = folder_ / "certificate.pem";
  options.key_file = folder_ / "key.pem";
  options.will = mqtt::Will{topics_.device_state(id_),
                            wire::encode(wire::DeviceState{.lost = true,
                                                           .session = "s",
                                                           .agent_version = "t",
                                                           .labels = {},
                                                           .activity = "idle",
                                                           .task = "",
                                                           .paused = ""}),
                            true};
  return options;
}

void Device::connect(bool with_hello) {
  begin_to_connect();
  await_connected(with_hello);
}

void Device::begin_to_connect() {
  ready_ = false;
  failure_.clear();
  mqtt::Handlers handlers;
  handlers.connected = [this](bool) {
    client_->subscribe({topics_.commands_of(id_)}, [this](Result<> done) { ready_ = done.has_value(); });
  };
  handlers.connect_failed = [this](const Error& error) { failure_ = error.what; };
  handlers.lost = [](const Error&) {};
  handlers.message = [this](const mqtt::Message& message) {
    if (const auto topic = topics_.for_device(id_, message.topic); topic && !topic->command.empty()) {
      commands_.emplace_back(topic->command, message.payload);
    }
  };
  auto client = mqtt::Client::create(coordinator_.loop().get_executor(), options(), std::move(handlers));
  REQUIRE_MESSAGE(client.has_value(), client.error().what);
  client_ = *std::move(client);
  client_->connect();
}

void Device::await_connected(bool with_hello) {
  REQUIRE_MESSAGE(run_until(coordinator_.loop(), [&] { return ready_ || !failure_.empty(); }), coordinator_.log());
  REQUIRE_MESSAGE(ready_, failure_);
  wire::DeviceState state;
  state.online = true;
  state.session = "s";
  state.activity = "idle";
  REQUIRE(publish(topics_.device_state(id_), wire::encode(state)).has_value());
  if (with_hello) {
    say_hello();
  }
}

std::string Device::try_to_connect() {
  begin_to_connect();
  REQUIRE(run_until(coordinator_.loop(), [&] { return ready_ || !failure_.empty(); }));
  if (failure_.empty()) {
    await_connected();
  }
  return failure_;
}

std::string Device::csr() const {
  return crypto::make_csr(crypto::PrivateKey::from_pem(key_pem_).value(), id_.str()).value();
}

void Device::new_key() {
  key_pem_ = crypto::PrivateKey::generate().value().to_pem().value();
  REQUIRE(replace_file(folder_ / "key.pem", key_pem_, 0600).has_value());
}

void Device::say_hello() {
  wire::Hello hello;
  hello.session = "s";
  hello.architecture = "x86_64";
  hello.cores = 1;
  hello.memory_bytes = memory_bytes_;
  hello.labels = labels_;
  hello.role = role_;
  hello.datasets = {{"digits", 100, 20}};
  send("hello", wire::encode(hello));
}

void Device::join(const std::string& token) {
  join_all({this}, token);
}

void join_all(const std::vector<Device*>& devices, const std::string& token) {
  for (Device* device : devices) {
    const auto response = device->enrol(token);
    REQUIRE_MESSAGE(response.status == 200, response.body);
  }
  connect_all(devices);
}

void connect_all(const std::vector<Device*>& devices) {
  std::ranges::for_each(devices, [](Device* device) { device->begin_to_connect(); });
  std::ranges::for_each(devices, [](Device* device) { device->await_connected(); });
}

Result<> Device::publish(const std::string& topic, const std::string& payload) {
  std::optional<Result<>> outcome;
  client_->publish(topic, payload, {.qos = 1, .retain = topic.ends_with("/state")},
                   [&](Result<> done) { outcome = std::move(done); });
  REQUIRE(run_until(coordinator_.loop(), [&] { return outcome.has_value(); }));
  return *outcome;
}

void Device::send(const std::string& kind, const std::string& payload) {
  const auto sent = publish(topics_.up(id_, kind), payload);
  REQUIRE_MESSAGE(sent.has_value(), sent.error().what);
}

void Device::send_chunk(const Digest& blob, std::uint32_t n, const std::string& bytes) {
  const auto sent = publish(topics_.device_chunk(id_, blob, n), bytes);
  REQUIRE_MESSAGE(sent.has_value(), sent.error().what);
}

std::string Device::await_raw(const std::string& kind) {
  auto found = commands_.end();
  const bool there = run_until(coordinator_.loop(), [&] {
    found =
        std::find_if(commands_.begin(), commands_.end(), [&](const auto& command) { return command.first == kind; });
    return found != commands_.end();
  });
  REQUIRE_MESSAGE(there, id_.str() << " waits for " << kind << "\n" << coordinator_.log());
  std::string payload = std::move(found->second);
  commands_.erase(found);
  return payload;
}

bool Device::has(const std::string& kind) const {
  return std::ranges::any_of(commands_, [&](const auto& command) { return command.first == kind; });
}

wire::ResultMessage Device::result_for(const wire::Task& task, const std::string& blob, std::uint64_t weight) const {
  wire::ResultMessage result;
  result.ref = task.ref;
  result.update = {crypto::sha256(blob), blob.size()};
  result.layout = test_layout().id();
  result.base = task.base;
  result.weight = weight;
  result.train_seconds = 0.5;
  if (task.kind == wire::TaskKind::init) {
    result.layout_text = test_layout().canonical();
  }
  return result;
}

wire::Receipt Device::upload(const wire::ResultMessage& result, const std::string& blob) {
  send("result", wire::encode(result));
  while (true) {
    const bool answered = run_until(coordinator_.loop(), [&] {
      return std::any_of(commands_.begin(), commands_.end(),
                         [](const auto& command) { return command.first == "grant" || command.first == "receipt"; });
    });
    REQUIRE_MESSAGE(answered, coordinator_.log());
    const bool granted =
        std::any_of(commands_.begin(), commands_.end(), [](const auto& command) { return command.first == "grant"; });
    if (!granted) {
      return await<wire::Receipt>("receipt");
    }
    const auto grant = await<wire::Grant>("grant");
    for (const auto& [first, last] : grant.chunks) {
      for (std::uint32_t n = first; n <= last; ++n) {
        send_chunk(grant.blob, n, blob.substr(std::size_t{n} * blob::chunk_size, blob::chunk_size));
      }
    }
  }
}

}  // namespace flops::test
