// The coordinator's connection to its broker: reconnects with back-off, subscribes, keeps the retained status.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "flops/core/backoff.hpp"
#include "flops/mqtt/client.hpp"
#include "flops/wire/topics.hpp"

namespace flops::coordinator {

class Link {
 public:
  struct Callbacks {
    std::function<void()> ready;  // subscribed; after every connect
    std::function<void(mqtt::Message)> message;
  };

  Link(boost::asio::any_io_executor loop, wire::Topics topics);

  // permanent: a certificate file is unusable.
  [[nodiscard]] Result<> open(mqtt::Options options, Callbacks callbacks);
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] const wire::Topics& topics() const { return topics_; }
  [[nodiscard]] mqtt::Stats stats() const { return client_ ? client_->stats() : mqtt::Stats(); }

  void publish(std::string topic, std::string payload, mqtt::PublishOptions options = {}, mqtt::Done done = {});
  // A command to a device: QoS 1, expires after a day.
  void command(const DeviceId& device, std::string_view kind, std::string payload);
  void close(std::function<void()> done);

 private:
  void connect();
  void connected();
  void failed(const Error& error);
  void lost(const Error& error);

  boost::asio::any_io_executor loop_;
  wire::Topics topics_;
  Callbacks callbacks_;
  std::unique_ptr<mqtt::Client> client_;
  boost::asio::steady_timer retry_;
  Backoff backoff_{std::chrono::milliseconds(200), std::chrono::seconds(15)};
  std::minstd_rand random_{std::random_device{}()};
  std::string problem_ = "not connected yet";
  int failures_ = 0;
  bool ready_ = false;
  bool closing_ = false;
  bool taken_over_ = false;
};

}  // namespace flops::coordinator
