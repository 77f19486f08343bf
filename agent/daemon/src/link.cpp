#include "link.hpp"

#include "flops/core/log.hpp"

namespace flops::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds disconnect_timeout{2};

mqtt::Options options_for(const Config& config, const Identity& identity, std::string will,
                          std::int64_t newest_time_seen, const wire::Topics& topics) {
  mqtt::Options options;
  options.newest_time_seen = newest_time_seen;
  options.host = identity.broker_host;
  options.port = identity.broker_port;
  options.client_id = identity.device.str();
  options.ca_file = identity.ca_file;
  options.certificate_file = identity.certificate_file;
  options.key_file = identity.key_file;
  options.will = mqtt::Will{topics.device_state(identity.device), std::move(will), true};
  options.keep_alive = std::chrono::duration_cast<seconds>(config.keep_alive);
  options.session_expiry = std::chrono::duration_cast<seconds>(config.session_expiry);
  return options;
}

}  // namespace

Link::Link(const boost::asio::any_io_executor& loop, const Identity& identity, Handlers handlers)
    : topics_(identity.fleet), device_(identity.device), handlers_(std::move(handlers)), timer_(loop) {}

Result<std::unique_ptr<Link>> Link::create(const boost::asio::any_io_executor& loop, const Config& config,
                                           const Identity& identity, std::string will, std::int64_t newest_time_seen,
                                           Handlers handlers) {
  std::unique_ptr<Link> link(new Link(loop, identity, std::move(handlers)));
  Link* raw = link.get();
  mqtt::Handlers events;
  events.connected = [raw](bool) { raw->connected(); };
  events.connect_failed = [raw](const Error& error) {
    raw->handlers_.failed(error);
    raw->connect_again(error);
  };
  events.lost = [raw](const Error& error) { raw->gone(error); };
  events.message = [raw](mqtt::Message message) { raw->handlers_.message(std::move(message)); };
  auto client = mqtt::Client::create(
      loop, options_for(config, identity, std::move(will), newest_time_seen, link->topics_), std::move(events));
  if (!client) {
    return fail(client.error());
  }
  link->client_ = *std::move(client);
  return link;
}

void Link::start() {
  if (const milliseconds wait = pace_.before_first(random_); wait.count() > 0) {
    log::info("link", "connecting in {} ms: the fleet is large", wait.count());
    connect_after(wait);
  } else {
    connect();
  }
}

void Link::connect() {
  if (handlers_.attempt) {
    handlers_.attempt();
  }
  client_->connect();
}

void Link::connect_after(milliseconds wait) {
  timer_.expires_after(wait);
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && !stopping_) {
      connect();
    }
  });
}

void Link::status_heard(seconds window) {
  if (window.count() > 0) {
    pace_.set_window(window);
  }
  if (up_ && !status_heard_at_) {
    status_heard_at_ = steady_clock::now();
  }
}

void Link::identity_shared() {
  identity_shared_ = true;
}

void Link::connected() {
  identity_shared_ = false;
  connected_at_ = steady_clock::now();
  status_heard_at_.reset();
  problems_.clear();
  client_->subscribe({topics_.commands_of(device_), topics_.status()},
                     [this](const Result<>& outcome) { subscribed(outcome); });
}

void Link::subscribed(const Result<>& outcome) {
  if (stopping_ || !client_->connected()) {
    return;  // `lost` tells
  }
  if (!outcome) {
    // Without its commands a device is deaf; perhaps its rights are being set up.
    client_->disconnect(disconnect_timeout, [this, error = outcome.error()] { connect_again(error); });
    return;
  }
  log::info("link", "connected to the broker");
  up_ = true;
  handlers_.up();
}

void Link::gone(const Error& error) {
  const bool was_up = std::exchange(up_, false);
  const auto now = steady_clock::now();
  const auto since = [now](steady_clock::time_point then) {
    return std::chrono::duration_cast<milliseconds>(now - then);
  };
  LinkLife life;
  life.lasted = since(connected_at_);
  life.working = status_heard_at_ ? since(*status_heard_at_) : milliseconds(0);
  // Brokers that keep to the letter of MQTT 5 say so themselves; Mosquitto 2.0.11 just closes the old connection.
  life.taken_over = identity_shared_ || error.kind == ErrorKind::denied;
  pace_.ended(life);
  if (life.taken_over) {
    log::error("link", "another machine connects with this device's certificate, and took the link over");
  }
  if (was_up) {
    handlers_.down();
  }
  connect_again(error);
}

void Link::connect_again(const Error& error) {
  if (stopping_) {
    return;
  }
  const milliseconds wait = pace_.next(random_);
  constexpr std::size_t max_problems = 16;
  // The same problems for hours are a line each, not thousands.
  if (problems_.size() < max_problems && problems_.insert(error.what).second) {
    log::warn("link", "no connection to the broker: {}; trying again in {} ms and then on", error.what, wait.count());
  }
  connect_after(wait);
}

void Link::publish(std::string topic, std::string payload, mqtt::PublishOptions options, mqtt::Done done) {
  client_->publish(std::move(topic), std::move(payload), options, std::move(done));
}

void Link::subscribe(std::vector<std::string> filters, mqtt::Done done) {
  client_->subscribe(std::move(filters), std::move(done));
}

void Link::unsubscribe(std::vector<std::string> filters) {
  if (up_ && !filters.empty()) {
    client_->unsubscribe(std::move(filters), {});
  }
}

void Link::stop(std::string last_state, std::function<void()> done) {
  stopping_ = true;
  up_ = false;
  timer_.cancel();
  if (!client_->connected()) {
    done();
    return;
  }
  mqtt::PublishOptions options;
  options.retain = true;
  client_->publish(topics_.device_state(device_), std::move(last_state), options,
                   [this, done = std::move(done)](const Result<>&) { client_->disconnect(disconnect_timeout, done); });
}

}  // namespace flops::agent
