// One device (a real flops-agent process), a real broker, and the test in the coordinator's place.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <boost/asio/io_context.hpp>

#include "flops/blob/chunks.hpp"
#include "flops/mqtt/client.hpp"
#include "flops/process/child.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/test/broker.hpp"
#include "flops/test/temporary_folder.hpp"
#include "flops/test/wait.hpp"
#include "flops/wire/messages.hpp"
#include "flops/wire/topics.hpp"

namespace flops::test {

// A model in its encoded form.
struct EncodedModel {
  std::string bytes;
  wire::BlobRef ref;
};
[[nodiscard]] EncodedModel encode_model(const std::vector<float>& values, const std::vector<float>* base = nullptr);
[[nodiscard]] std::vector<float> decode_update(const std::string& bytes, const std::vector<float>* base);
// Of a model, or of one with its control variates.
[[nodiscard]] Digest model_digest_of(const std::vector<float>& values);
[[nodiscard]] tensor::Layout fake_model_layout();

[[nodiscard]] std::filesystem::path program(const std::string& name);

class Fleet {
 public:
  Fleet();
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // `environment`: added to ours.
  void start_agent(const std::vector<std::pair<std::string, std::string>>& environment = {});
  [[nodiscard]] process::Exit stop_agent(int signal);  // and waits for its end
  [[nodiscard]] bool agent_runs() const { return agent_ && agent_->running(); }
  [[nodiscard]] int agent_pid() const { return agent_->pid(); }
  [[nodiscard]] std::string agent_log() const;

  void raw_command(const std::string& kind, const std::string& payload);
  template <class Message>
  void command(const std::string& kind, const Message& message) {
    raw_command(kind, wire::encode(message));
  }
  // Retained chunks, from `first` to before `end` or the last.
  void publish_blob(const EncodedModel& model, std::uint32_t first = 0, std::uint32_t end = UINT32_MAX);
  void publish(const std::string& topic, const std::string& payload, bool retain);

  // Waits for the next message of this kind from the device and takes it.
  template <class Message>
  Message next(const std::string& kind) {
    const std::string payload = next_payload(kind);
    auto message = wire::decode<Message>(payload);
    REQUIRE_MESSAGE(message.has_value(), (message ? "" : message.error().what));
    return *std::move(message);
  }
  [[nodiscard]] std::size_t waiting(const std::string& kind) const;
  // Until the device's retained state satisfies the condition.
  void wait_for_state(const std::function<bool(const wire::DeviceState&)>& condition, const char* what);
  // Until all chunks of the update are here.
  [[nodiscard]] std::string receive_update(const wire::BlobRef& update);
  [[nodiscard]] std::size_t chunks_of(const Digest& blob) const;
  void forget_chunks() { chunks_.clear(); }
  void wait(const std::function<bool()>& condition, const char* what);

  [[nodiscard]] wire::Task task(const std::string& id, std::int64_t round, wire::TaskKind kind = wire::TaskKind::train);
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_.path(); }
  [[nodiscard]] std::filesystem::path config_file() const { return folder_ / "agent.toml"; }
  [[nodiscard]] const wire::Topics& topics() const { return topics_; }
  [[nodiscard]] boost::asio::io_context& loop() { return loop_; }
  [[nodiscard]] Broker& broker() { return broker_; }
  [[nodiscard]] const DeviceId& device() const { return device_; }
  void connect_coordinator();

 private:
  void write_device_files();
  [[nodiscard]] std::string next_payload(const std::string& kind);
  void on_message(const mqtt::Message& message);

  TemporaryFolder folder_;
  Broker broker_;
  boost::asio::io_context loop_;
  DeviceId device_;
  wire::Topics topics_;
  std::unique_ptr<mqtt::Client> coordinator_;
  bool subscribed_ = false;
  std::unique_ptr<process::Child> agent_;
  std::optional<process::Exit> exit_;
  std::map<std::string, std::deque<std::string>> up_;
  std::map<Digest, std::map<std::uint32_t, std::string>> chunks_;
  wire::DeviceState state_;
};

}  // namespace flops::test
