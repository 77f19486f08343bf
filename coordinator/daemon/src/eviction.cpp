#include "eviction.hpp"

#include <boost/asio/post.hpp>

#include "flops/broker/mosquitto_config.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/key.hpp"

namespace flops::coordinator {
namespace {

using namespace std::chrono_literals;

constexpr auto lifetime = 10min;
constexpr auto first_wait = 300ms;  // the broker rereads its files meanwhile
constexpr auto second_wait = 1500ms;
constexpr auto fetching_wait = 15s;  // while an external broker has not fetched the list yet
constexpr int fetching_connections = 20;
constexpr auto retry_wait = 500ms;
constexpr auto goodbye = 1s;

}  // namespace

Eviction::Eviction(boost::asio::any_io_executor loop, const Config& config, const Credentials& credentials)
    : loop_(std::move(loop)), config_(config), credentials_(credentials) {}

Eviction::~Eviction() {
  stop();
}

std::filesystem::path Eviction::certificate_of(const DeviceId& device) const {
  return config_.state_folder / broker::coordinator_name / fmt::format("evict-{}.pem", device);
}

// For the coordinator's own key: the device's key is the device's alone.
Result<> Eviction::make_certificate(const DeviceId& device) const {
  auto pem = read_file(config_.state_folder / broker::coordinator_name / "key.pem");
  auto key = pem ? crypto::PrivateKey::from_pem(*pem) : Result<crypto::PrivateKey>(fail(pem.error()));
  auto csr = key ? crypto::make_csr(*key, device.str()) : Result<std::string>(fail(key.error()));
  if (!csr) {
    return fail(csr.error());
  }
  const crypto::IssueRequest request{device.str(), crypto::Usage::client, {}, lifetime};
  auto certificate = credentials_.ca.issue(*csr, request);
  return certificate ? replace_file(certificate_of(device), *certificate, 0600) : Result<>(fail(certificate.error()));
}

void Eviction::evict(const DeviceId& device, Cut cut, bool rereads_soon) {
  const bool again_and_again = cut == Cut::revoked && !rereads_soon;
  auto& visit = visits_[device];
  visit = std::make_shared<Visit>(loop_);
  visit->connections_left = again_and_again ? fetching_connections : 2;
  visit->attempts_left = visit->connections_left + 8;
  visit->between = again_and_again ? std::chrono::milliseconds(fetching_wait) : second_wait;
  if (auto made = make_certificate(device); !made) {
    log::error("broker", "cutting {} off: {}", device, made.error().what);
    visits_.erase(device);
    return;
  }
  visit_later(device, first_wait);
}

void Eviction::visit_later(const DeviceId& device, std::chrono::milliseconds wait) {
  const auto found = visits_.find(device);
  found->second->timer.expires_after(wait);
  found->second->timer.async_wait([this, device](boost::system::error_code cancelled) {
    if (!cancelled && visits_.contains(device)) {
      visit(device);
    }
  });
}

void Eviction::visit(const DeviceId& device) {
  Visit& visit = *visits_.at(device);
  mqtt::Options options;
  options.host = address_.host;
  options.port = address_.port;
  options.client_id = device.str();
  options.ca_file = config_.broker.mode == "managed" ? config_.state_folder / "ca.pem" : config_.broker.ca;
  options.certificate_file = certificate_of(device);
  options.key_file = config_.state_folder / broker::coordinator_name / "key.pem";
  options.intermediates = address_.intermediates;
  options.connect_timeout = 3s;
  mqtt::Handlers handlers;
  // A client must not end inside its own handler.
  const auto ended = [this, device](bool connected) {
    boost::asio::post(loop_, [this, device, connected] {
      if (const auto found = visits_.find(device); found != visits_.end() && found->second->client) {
        visited(device, connected);
      }
    });
  };
  handlers.connected = [ended, client = &visit.client](bool) {
    (*client)->disconnect(goodbye, [ended] { ended(true); });
  };
  handlers.connect_failed = [ended, device](const Error& error) {
    log::debug("broker", "cutting {} off: {}", device, error.what);
    ended(false);
  };
  handlers.lost = [ended](const Error&) { ended(true); };
  handlers.message = [](const mqtt::Message&) {};
  auto client = mqtt::Client::create(loop_, std::move(options), std::move(handlers));
  if (!client) {
    log::error("broker", "cutting {} off: {}", device, client.error().what);
    visited(device, false);
    return;
  }
  visit.client = *std::move(client);
  visit.client->connect();
}

void Eviction::visited(const DeviceId& device, bool connected) {
  const auto found = visits_.find(device);
  if (found == visits_.end()) {
    return;
  }
  Visit& visit = *found->second;
  visit.client.reset();
  visit.connections_left -= connected ? 1 : 0;
  --visit.attempts_left;
  if (visit.connections_left > 0 && visit.attempts_left > 0) {
    visit_later(device, connected ? visit.between : retry_wait);
    return;
  }
  if (visit.connections_left > 0) {  // a broker that is down has no connections, and starts with the new files
    log::warn("broker", "{} could not be cut off: the broker did not let the coordinator in", device);
  }
  std::error_code ignored;
  std::filesystem::remove(certificate_of(device), ignored);
  visits_.erase(found);
}

void Eviction::stop() {
  for (const auto& [device, visit] : visits_) {
    std::error_code ignored;
    std::filesystem::remove(certificate_of(device), ignored);
  }
  visits_.clear();
}

}  // namespace flops::coordinator
