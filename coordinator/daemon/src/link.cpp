#include "link.hpp"

#include <utility>

#include "flops/core/log.hpp"

namespace flops::coordinator {

using namespace std::chrono_literals;

namespace {

constexpr int failures_worth_a_warning = 3;
constexpr std::chrono::milliseconds takeover_wait = 30s;

}  // namespace

Link::Link(boost::asio::any_io_executor loop, wire::Topics topics)
    : loop_(loop), topics_(std::move(topics)), retry_(loop) {}

Result<> Link::open(mqtt::Options options, Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  mqtt::Handlers handlers;
  handlers.connected = [this](bool) { connected(); };
  handlers.connect_failed = [this](const Error& error) { failed(error); };
  handlers.lost = [this](const Error& error) { lost(error); };
  handlers.message = [this](mqtt::Message message) { callbacks_.message(std::move(message)); };
  auto client = mqtt::Client::create(loop_, std::move(options), std::move(handlers));
  if (!client) {
    return fail(client.error());
  }
  client_ = *std::move(client);
  connect();
  return {};
}

void Link::connect() {
  client_->connect();
}

void Link::connected() {
  client_->subscribe({topics_.all_states(), topics_.all_up(), topics_.all_device_chunks()}, [this](Result<> done) {
    if (!client_->connected()) {
      return;  // `lost` tells
    }
    if (!done) {
      log::error("mqtt", "the broker refuses the coordinator's subscriptions: {}", done.error().what);
      problem_ = done.error().what;
      return;
    }
    log::info("mqtt", "connected to the broker");
    backoff_.reset();
    failures_ = 0;
    problem_.clear();
    ready_ = true;
    callbacks_.ready();
  });
}

void Link::lost(const Error& error) {
  if (error.kind == ErrorKind::denied) {
    log::error("mqtt", "another client is connected with the coordinator's certificate: {}", error.what);
    taken_over_ = true;
  } else {
    log::warn("mqtt", "connection to the broker lost: {}", error.what);
  }
  failed(error);
}

void Link::failed(const Error& error) {
  ready_ = false;
  if (closing_) {
    return;
  }
  // The broker needs a moment after its start: only what lasts is worth a warning, and that once.
  ++failures_;
  problem_ = error.what;
  if (failures_ == failures_worth_a_warning) {
    log::warn("mqtt", "no connection to the broker: {}", error.what);
  }
  // Coming back at once would take the connection over in turn, and so on without end.
  const bool stay_away = std::exchange(taken_over_, false);
  retry_.expires_after(stay_away ? takeover_wait + backoff_.next(random_) : backoff_.next(random_));
  retry_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && !closing_) {
      connect();
    }
  });
}

void Link::publish(std::string topic, std::string payload, mqtt::PublishOptions options, mqtt::Done done) {
  if (!client_) {
    if (done) {
      done(fail(ErrorKind::transient, "not connected"));
    }
    return;
  }
  client_->publish(std::move(topic), std::move(payload), options, std::move(done));
}

void Link::command(const DeviceId& device, std::string_view kind, std::string payload) {
  // A command that does not get through is sent again when the device says hello or repeats its result.
  publish(topics_.command(device, kind), std::move(payload), {.qos = 1, .retain = false, .expiry = 24h},
          [device, kind = std::string(kind)](Result<> done) {
            if (!done) {
              log::debug("mqtt", "{} to {} not delivered: {}", kind, device, done.error().what);
            }
          });
}

void Link::close(std::function<void()> done) {
  closing_ = true;
  ready_ = false;
  retry_.cancel();
  if (client_) {
    client_->disconnect(2s, std::move(done));
  } else {
    done();
  }
}

}  // namespace flops::coordinator
