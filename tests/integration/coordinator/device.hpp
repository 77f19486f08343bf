// A device played by the test, by the protocol: enrols, connects, says hello, takes tasks, offers updates.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/blob/chunks.hpp"
#include "flops/core/fd.hpp"
#include "flops/mqtt/client.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/test/wait.hpp"
#include "flops/wire/messages.hpp"
#include "flops/wire/topics.hpp"
#include "harness.hpp"

namespace flops::test {

inline constexpr std::size_t parameters = 150'000;  // several chunks

[[nodiscard]] tensor::Layout test_layout();
[[nodiscard]] std::vector<float> values(float around, unsigned seed);
// Encoded with the lossless codec; without a base when it is empty.
[[nodiscard]] std::string encoded(const std::vector<float>& values, const std::vector<float>& base = {});

class Device {
 public:
  Device(CoordinatorProcess& coordinator, const std::string& name);

  // The answer to an enrolment with the token. On 200 the identity is stored.
  [[nodiscard]] http::ClientResponse enrol(const std::string& token, const std::string& as = {});
  void join(const std::string& token);  // enrol, connect, hello
  void connect(bool with_hello = true);
  // The two halves of connect(), for several at once.
  void begin_to_connect();
  void await_connected(bool with_hello = true);
  // Empty when it is let in; with connect()'s session, state and hello then.
  [[nodiscard]] std::string try_to_connect();
  [[nodiscard]] bool connected() const { return client_ && client_->connected(); }
  // Said with the next hello.
  void label(const std::string& name, const std::string& value) { labels_[name] = value; }
  void role(wire::Role role) { role_ = role; }
  void memory(std::uint64_t bytes) { memory_bytes_ = bytes; }
  void say_hello();
  [[nodiscard]] mqtt::Options options() const;

  void send(const std::string& kind, const std::string& payload);
  [[nodiscard]] Result<> publish(const std::string& topic, const std::string& payload);
  // The next command of this kind that has not been taken yet.
  template <class Message>
  [[nodiscard]] Message await(const std::string& kind) {
    const std::string payload = await_raw(kind);
    auto message = wire::decode<Message>(payload);
    REQUIRE_MESSAGE(message.has_value(), message.error().what);
    return *std::move(message);
  }
  // Whether a command of this kind is here that has not been taken yet.
  [[nodiscard]] bool has(const std::string& kind) const;
  // A good result for the task, with `blob` as its update.
  [[nodiscard]] wire::ResultMessage result_for(const wire::Task& task, const std::string& blob,
                                               std::uint64_t weight = 10) const;
  // Offers the update and sends what is granted until there is a receipt.
  [[nodiscard]] wire::Receipt upload(const wire::ResultMessage& result, const std::string& blob);
  void send_chunk(const Digest& blob, std::uint32_t n, const std::string& bytes);

  [[nodiscard]] const DeviceId& id() const { return id_; }
  [[nodiscard]] std::string csr() const;
  [[nodiscard]] std::filesystem::path certificate_file() const { return folder_ / "certificate.pem"; }
  void new_key();  // the one there was is lost
  void drop() { client_.reset(); }

 private:
  [[nodiscard]] std::string await_raw(const std::string& kind);

  CoordinatorProcess& coordinator_;
  DeviceId id_;
  TemporaryFolder folder_;
  wire::Topics topics_;
  std::string key_pem_;
  std::map<std::string, std::string> labels_;
  wire::Role role_ = wire::Role::device;
  std::uint64_t memory_bytes_ = 0;
  std::uint16_t broker_port_ = 0;
  std::unique_ptr<mqtt::Client> client_;
  bool ready_ = false;
  std::string failure_;
  std::vector<std::pair<std::string, std::string>> commands_;  // kind, payload
};

// Enrols and connects them, all at once.
void join_all(const std::vector<Device*>& devices, const std::string& token);
void connect_all(const std::vector<Device*>& devices);

}  // namespace flops::test
