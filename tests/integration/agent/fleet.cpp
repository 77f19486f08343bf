#include "fleet.hpp"

#include <cstdlib>
#include <cstring>

#include "fake_model.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/control_variates.hpp"
#include "flops/tensor/safetensors.hpp"

namespace flops::test {
namespace {

std::string idx_file(std::uint32_t samples, bool images) {
  std::string bytes = {'\0', '\0', '\x08', images ? '\x03' : '\x01', '\0', '\0', '\0', static_cast<char>(samples)};
  if (images) {
    bytes += std::string("\0\0\0\2\0\0\0\2", 8);
  }
  return bytes + std::string(images ? samples * 4 : samples, '\1');
}

void write(const std::filesystem::path& file, std::string_view content) {
  auto written = replace_file(file, content);
  REQUIRE_MESSAGE(written.has_value(), (written ? "" : written.error().what));
}

tensor::FloatSource source_of(const std::vector<float>* values) {
  return values != nullptr ? tensor::from_memory(*values) : tensor::zeros();
}

}  // namespace

tensor::Layout fake_model_layout() {
  return *tensor::Layout::parse(fake_layout);
}

Digest model_digest_of(const std::vector<float>& values) {
  const tensor::Layout model = fake_model_layout();
  const tensor::Layout layout = values.size() == model.parameters() ? model : *tensor::with_variates(model);
  return tensor::model_digest(layout, tensor::from_memory(values)).value();
}

EncodedModel encode_model(const std::vector<float>& values, const std::vector<float>* base) {
  EncodedModel model;
  auto encoded = tensor::encode(tensor::Codec::lossless, values.size(), tensor::from_memory(values), source_of(base),
                                [&](std::span<const std::byte> bytes) -> Result<> {
                                  model.bytes.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                                  return {};
                                });
  REQUIRE(encoded.has_value());
  model.ref = {crypto::sha256(model.bytes), model.bytes.size()};
  return model;
}

std::vector<float> decode_update(const std::string& bytes, const std::vector<float>* base) {
  std::vector<float> values(base != nullptr ? base->size() : fake_parameters);
  std::size_t at = 0;
  auto decoded = tensor::decode(
      values.size(), bytes.size(),
      [&](std::span<std::byte> into) -> Result<> {
        if (into.size() > bytes.size() - at) {
          return fail(ErrorKind::corrupt, "too short");
        }
        std::memcpy(into.data(), bytes.data() + at, into.size());
        at += into.size();
        return {};
      },
      source_of(base), tensor::to_memory(values));
  REQUIRE_MESSAGE(decoded.has_value(), (decoded ? "" : decoded.error().what));
  return values;
}

std::filesystem::path program(const std::string& name) {
  const char* bin = std::getenv("FLOPS_BIN");
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe");
  return (bin != nullptr ? std::filesystem::path(bin) : own.parent_path().parent_path()) / name;
}

Fleet::Fleet() : device_(*DeviceId::parse("pi-1")), topics_(*FleetId::parse("test")) {
  write_device_files();
  connect_coordinator();
}

Fleet::~Fleet() {
  if (agent_runs()) {
    (void)stop_agent(SIGKILL);
  }
}

void Fleet::write_device_files() {
  const Identity identity = broker_.identity(device_.str());
  const auto state = folder_ / "state" / "identity";
  std::filesystem::create_directories(state);
  std::filesystem::copy_file(identity.ca, state / "ca.pem");
  std::filesystem::copy_file(identity.certificate, state / "certificate.pem");
  std::filesystem::copy_file(identity.key, state / "key.pem");
  write(state / "enrolment.json", fmt::format(R"({{"device":"{}","fleet":"test","coordinator":"https://localhost:1",)"
                                              R"("broker":{{"host":"localhost","port":{}}}}})",
                                              device_, broker_.port()));
  write(folder_ / "train-images", idx_file(40, true));
  write(folder_ / "train-labels", idx_file(40, false));
  write(folder_ / "test-images", idx_file(10, true));
  write(folder_ / "test-labels", idx_file(10, false));
  write(config_file(), fmt::format(R"(
device = "{}"
log_level = "debug"
[state]
folder = "state"
[trainer]
program = "{}"
nice = 0
background = false
checkpoint_to_disk = "0s"
[conditions]
system_root = "system"
[mqtt]
answer_timeout = "2s"
[labels]
site = "hall-3"
[[dataset]]
tag = "mnist"
train_samples = "train-images"
train_labels = "train-labels"
test_samples = "test-images"
test_labels = "test-labels"
)",
                                   device_, program("tests/fake_trainer").string()));
}

void Fleet::connect_coordinator() {
  const Identity identity = broker_.identity("coordinator");
  mqtt::Options options;
  options.host = "localhost";
  options.port = broker_.port();
  options.client_id = "coordinator";
  options.ca_file = identity.ca;
  options.certificate_file = identity.certificate;
  options.key_file = identity.key;
  mqtt::Handlers handlers;
  subscribed_ = false;
  handlers.connected = [this](bool) {
    coordinator_->subscribe({topics_.all_states(), topics_.all_up(), topics_.all_device_chunks()},
                            [this](const Result<>& outcome) { subscribed_ = outcome.has_value(); });
  };
  handlers.connect_failed = [](const Error& error) { FAIL(error.what); };
  handlers.lost = [this](const Error&) { subscribed_ = false; };
  handlers.message = [this](const mqtt::Message& message) { on_message(message); };
  coordinator_.reset();
  auto client = mqtt::Client::create(loop_.get_executor(), options, handlers);
  REQUIRE_MESSAGE(client.has_value(), (client ? "" : client.error().what));
  coordinator_ = *std::move(client);
  coordinator_->connect();
  wait([this] { return subscribed_; }, "the coordinator's subscription");
}

void Fleet::wait(const std::function<bool()>& condition, const char* what) {
  const bool held = run_until(loop_, condition);
  REQUIRE_MESSAGE(held, what, "\n", agent_log());
}

void Fleet::start_agent(const std::vector<std::pair<std::string, std::string>>& environment) {
  process::Command command;
  command.program = program("flops-agent");
  command.arguments = {"run", "--config", config_file().string()};
  command.environment = environment;
  command.log_file = folder_ / "agent.log";
  exit_.reset();
  auto child = process::Child::spawn(loop_.get_executor(), command, [this](process::Exit exit) { exit_ = exit; });
  REQUIRE_MESSAGE(child.has_value(), (child ? "" : child.error().what));
  agent_ = *std::move(child);
}

process::Exit Fleet::stop_agent(int signal) {
  agent_->signal(signal);
  const bool ended = run_until(loop_, [this] { return exit_.has_value(); });
  REQUIRE_MESSAGE(ended, "the agent does not end\n", agent_log());
  return *exit_;
}

std::string Fleet::agent_log() const {
  auto text = read_file(folder_ / "agent.log", 16U << 20U);
  return text ? *text : std::string();
}

void Fleet::on_message(const mqtt::Message& message) {
  const auto topic = topics_.from_device(message.topic);
  if (!topic || topic->device != device_) {
    return;
  }
  if (topic->what == wire::Topics::FromDevice::What::up) {
    up_[topic->kind].push_back(message.payload);
  } else if (topic->what == wire::Topics::FromDevice::What::chunk) {
    chunks_[topic->blob][topic->n] = message.payload;
  } else if (auto state = wire::decode<wire::DeviceState>(message.payload)) {
    state_ = *std::move(state);
  }
}

void Fleet::publish(const std::string& topic, const std::string& payload, bool retain) {
  bool done = false;
  mqtt::PublishOptions options;
  options.retain = retain;
  coordinator_->publish(topic, payload, options, [&done](const Result<>& outcome) { done = outcome.has_value(); });
  wait([&done] { return done; }, topic.c_str());
}

void Fleet::raw_command(const std::string& kind, const std::string& payload) {
  publish(topics_.command(device_, kind), payload, false);
}

void Fleet::publish_blob(const EncodedModel& model, std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t n = first; n < std::min(end, blob::chunk_count(model.ref.size)); ++n) {
    publish(topics_.chunk(model.ref.sha256, n),
            model.bytes.substr(std::size_t{n} * blob::chunk_size, blob::chunk_bytes(model.ref.size, n)), true);
  }
}

std::string Fleet::next_payload(const std::string& kind) {
  std::deque<std::string>& queue = up_[kind];
  wait([&queue] { return !queue.empty(); }, kind.c_str());
  std::string payload = std::move(queue.front());
  queue.pop_front();
  return payload;
}

std::size_t Fleet::waiting(const std::string& kind) const {
  const auto queue = up_.find(kind);
  return queue == up_.end() ? 0 : queue->second.size();
}

void Fleet::wait_for_state(const std::function<bool(const wire::DeviceState&)>& condition, const char* what) {
  wait([&] { return condition(state_); }, what);
}

std::size_t Fleet::chunks_of(const Digest& blob) const {
  const auto found = chunks_.find(blob);
  return found == chunks_.end() ? 0 : found->second.size();
}

std::string Fleet::receive_update(const wire::BlobRef& update) {
  wait([&] { return chunks_of(update.sha256) == blob::chunk_count(update.size); }, "the chunks of the update");
  std::string bytes;
  for (const auto& [n, chunk] : chunks_[update.sha256]) {
    bytes += chunk;
  }
  return bytes;
}

wire::Task Fleet::task(const std::string& id, std::int64_t round, wire::TaskKind kind) {
  wire::Task task;
  task.ref = {*TaskId::parse(id), *RunId::parse("run-1"), 0, round};
  task.kind = kind;
  task.model = "tiny";
  task.seed = static_cast<std::uint64_t>(round);
  if (kind != wire::TaskKind::init) {
    task.data = "mnist";
    task.layout_text = fake_layout;
  }
  return task;
}

}  // namespace flops::test
