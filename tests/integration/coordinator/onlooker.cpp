#include "onlooker.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "flops/core/file.hpp"
#include "flops/test/wait.hpp"

namespace flops::test {
namespace {

constexpr const char* root = "flops/v1/test/";

}  // namespace

Onlooker::Onlooker(CoordinatorProcess& coordinator, const std::vector<std::string>& filters)
    : coordinator_(coordinator) {
  const auto endpoints = boost::json::parse(read_file(coordinator.state() / "endpoints.json").value());
  mqtt::Options options;
  options.host = "127.0.0.1";
  options.port = endpoints.at("broker_port").to_number<std::uint16_t>();
  options.client_id = "observer";
  options.ca_file = coordinator.state() / "ca.pem";
  options.certificate_file = coordinator.state() / "observer" / "certificate.pem";
  options.key_file = coordinator.state() / "observer" / "key.pem";
  bool connected = false;
  mqtt::Handlers handlers;
  handlers.connected = [&](bool) { connected = true; };
  handlers.connect_failed = [](const Error& error) { FAIL(error.what); };
  handlers.lost = [](const Error&) {};
  handlers.message = [this](mqtt::Message message) {
    if (message.payload.empty()) {
      retained_.erase(message.topic);
    } else {
      retained_[message.topic] = message.payload;
    }
    heard_.push_back(std::move(message));
  };
  auto client = mqtt::Client::create(coordinator.loop().get_executor(), std::move(options), std::move(handlers));
  REQUIRE_MESSAGE(client.has_value(), client.error().what);
  client_ = *std::move(client);
  client_->connect();
  REQUIRE(run_until(coordinator.loop(), [&] { return connected; }));
  for (const std::string& filter : filters) {
    subscribe(filter);
  }
}

void Onlooker::subscribe(const std::string& filter) {
  bool done = false;
  client_->subscribe({root + filter}, [&](const Result<>& outcome) {
    REQUIRE(outcome.has_value());
    done = true;
  });
  REQUIRE(run_until(coordinator_.loop(), [&] { return done; }));
}

std::size_t Onlooker::chunks(const std::string& blob) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      retained_, [&](const auto& entry) { return entry.first.starts_with(std::string(root) + "blobs/" + blob); }));
}

}  // namespace flops::test
