// The connection to the fleet's broker: connects, comes back at the pace of reconnect_pace.hpp, subscribes to what a
// device hears. A link that swallows packets is noticed by the keep-alive: a ping after mqtt.keep_alive without a
// packet, and a loss when as long again brings no answer. Everything on the loop's thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/agent_config/config.hpp"
#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/error.hpp"
#include "flops/mqtt/client.hpp"
#include "flops/wire/topics.hpp"
#include "reconnect_pace.hpp"

namespace flops::agent {

class Link {
 public:
  struct Handlers {
    std::function<void()> up;  // connected and subscribed
    std::function<void()> down;
    std::function<void(const Error&)> failed;  // an attempt; the next one comes by itself
    std::function<void(mqtt::Message)> message;
    std::function<void()> attempt = {};  // one begins; may be empty
  };

  // permanent: the identity's files are unusable. `will`: the retained state the broker publishes when we vanish.
  // `newest_time_seen`: as mqtt::Options has it.
  [[nodiscard]] static Result<std::unique_ptr<Link>> create(const boost::asio::any_io_executor& loop,
                                                            const Config& config, const Identity& identity,
                                                            std::string will, std::int64_t newest_time_seen,
                                                            Handlers handlers);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void start();
  // The coordinator's status arrived over this link. `window`: over which devices spread their coming back;
  // 0: it did not say (the will of one that died does not), the last one holds.
  void status_heard(std::chrono::seconds window);
  // What the will says from the next attempt on: to be called from Handlers::attempt.
  void set_will(std::string payload) { client_->set_will(std::move(payload)); }
  // The coordinator has seen another machine with this device's certificate: when it takes this link over, we stay
  // away.
  void identity_shared();
  // What the last status said, before start().
  void remember_window(std::chrono::seconds window) { pace_.set_window(window); }
  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] const wire::Topics& topics() const { return topics_; }

  // Without a connection `done` gets a transient error and nothing is kept: the caller says it again on `up`.
  void publish(std::string topic, std::string payload, mqtt::PublishOptions options, mqtt::Done done);
  void subscribe(std::vector<std::string> filters, mqtt::Done done);
  void unsubscribe(std::vector<std::string> filters);

  // Publishes the last state, if there is a connection, and disconnects. `done` within a few seconds.
  void stop(std::string last_state, std::function<void()> done);

 private:
  Link(const boost::asio::any_io_executor& loop, const Identity& identity, Handlers handlers);
  void connected();
  void subscribed(const Result<>& outcome);
  void gone(const Error& error);
  void connect();
  void connect_after(std::chrono::milliseconds wait);
  void connect_again(const Error& error);

  wire::Topics topics_;
  DeviceId device_;
  Handlers handlers_;
  boost::asio::steady_timer timer_;
  ReconnectPace pace_;
  std::mt19937_64 random_{std::random_device{}()};
  std::chrono::steady_clock::time_point connected_at_;
  std::optional<std::chrono::steady_clock::time_point> status_heard_at_;
  bool up_ = false;
  bool identity_shared_ = false;  // as heard over this link
  bool stopping_ = false;
  std::set<std::string> problems_;        // that were said since the last connection
  std::unique_ptr<mqtt::Client> client_;  // last: gone first
};

}  // namespace flops::agent
