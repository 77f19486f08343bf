#include "flops/coordinator/coordinator.hpp"

#include <charconv>
#include <optional>
#include <utility>

#include <pwd.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>

#include "api.hpp"
#include "api_json.hpp"
#include "credentials.hpp"
#include "flops/broker/managed_broker.hpp"
#include "flops/broker/mosquitto_config.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/service/manager.hpp"
#include "flops/transfer/reconnect_window.hpp"
#include "inbox.hpp"
#include "leftovers.hpp"
#include "run_controller.hpp"
#include "state_lock.hpp"
#include "uplink_options.hpp"

namespace flops::coordinator {
namespace {

using namespace std::chrono_literals;

constexpr auto status_interval = 30s;
constexpr auto certificate_check_interval = 1h;
// Every device hears every status: one for each device that comes back would be the square of the fleet.
constexpr auto shortest_status_interval = 1s;
constexpr std::size_t inbox_bytes = 2U << 20U;

std::string user_name() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : "";
}

// Another one may have authorities in between; under ours they are sites, which must not pass for the broker.
bool is_own_ca(const std::filesystem::path& file, const crypto::CertificateAuthority& own) {
  auto pem = read_file(file);
  auto info = pem ? crypto::read_certificate(*pem) : Result<crypto::CertificateInfo>(fail(pem.error()));
  return info && info->fingerprint == own.fingerprint();
}

class Running final : public Coordinator {
 public:
  Running(boost::asio::any_io_executor loop, Config config, const FleetId& fleet, Fd lock, registry::Registry registry,
          blob::FileStore updates, Downloads downloads, Credentials credentials)
      : loop_(loop),
        config_(std::move(config)),
        lock_(std::move(lock)),
        registry_(std::move(registry)),
        updates_(std::move(updates)),
        downloads_(std::move(downloads.blobs)),
        leftovers_(std::move(downloads.leftovers)),
        credentials_(std::move(credentials)),
        models_(config_.state_folder / "models"),
        fleet_(registry_),
        link_(loop, wire::Topics(fleet)),
        publisher_(link_, downloads_, leftovers_),
        worker_(loop),
        health_(clock_, [this] { publish_status(!stopping_); }),
        runs_({config_, clock_, registry_, fleet_, link_, updates_, downloads_, models_, publisher_, worker_, health_},
              [this] { runs_changed(); }),
        broker_access_(loop, config_, fleet, registry_, credentials_),
        life_({config_, registry_, credentials_, fleet_, runs_, link_, broker_access_, [this] { presence_changed(); }}),
        reports_(clock_, link_),
        inbox_(link_.topics(), clock_, fleet_, runs_, life_, reports_, [this] { presence_changed(); }),
        manager_(loop),
        ticker_(loop),
        started_(clock_.steady()),
        certificates_checked_(started_) {}

  Result<> begin();
  void reload(const Config& config) override;
  void stop(std::function<void()> done) override;

 private:
  Result<> begin_broker();
  Result<> begin_managed_broker();
  Result<std::uint16_t> lasting_port(std::string_view key, std::int64_t wanted, const std::string& address);
  Result<> begin_api();
  [[nodiscard]] bool has_intermediates() const;
  Result<> begin_link();
  [[nodiscard]] std::string api_url() const;
  Result<> write_endpoints();
  Result<> begin_uplink();
  void watch_uplink();
  Result<> make_admin_token();
  void tick();
  void renew_certificates();
  [[nodiscard]] Result<> serve_certificate();
  void runs_changed();
  void presence_changed();
  void publish_status(bool online);
  [[nodiscard]] wire::CoordinatorStatus status(bool online) const;
  [[nodiscard]] std::string not_ready() const;

  boost::asio::any_io_executor loop_;
  Config config_;
  SystemClock clock_;
  Fd lock_;
  registry::Registry registry_;
  blob::FileStore updates_;    // of the open round
  blob::FileStore downloads_;  // models, encoded for devices
  Leftovers leftovers_;        // of these
  Credentials credentials_;
  aggregation::ModelFolder models_;
  Fleet fleet_;
  Link link_;
  Publisher publisher_;
  Worker worker_;
  HealthBoard health_;
  bool stopping_ = false;
  RunController runs_;
  BrokerAccess broker_access_;
  DeviceLife life_;
  Reports reports_;
  Inbox inbox_;
  service::Manager manager_;
  boost::asio::steady_timer ticker_;
  SteadyTime started_;
  SteadyTime status_published_{};
  bool status_due_ = false;
  SteadyTime certificates_checked_;
  bool serving_due_ = false;  // the API or the broker may not have the renewed certificate yet
  BrokerEndpoint broker_endpoint_;
  std::unique_ptr<broker::ManagedBroker> broker_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<uplink::ManagedUplink> uplink_;
};

// A port of 0 means any free one, but the same at every start: devices remember it.
Result<std::uint16_t> Running::lasting_port(std::string_view key, std::int64_t wanted, const std::string& address) {
  if (wanted != 0) {
    return static_cast<std::uint16_t>(wanted);
  }
  auto stored = registry_.meta(key);
  if (!stored) {
    return fail(stored.error());
  }
  if (*stored) {
    std::uint16_t port = 0;
    const std::string& text = **stored;
    if (std::from_chars(text.data(), text.data() + text.size(), port).ec != std::errc() || port == 0) {
      return fail(ErrorKind::corrupt, "the stored {} is '{}'", key, text.substr(0, 32));
    }
    return port;
  }
  auto port = broker::free_port(address);
  if (port) {
    if (auto saved = registry_.set_meta(key, std::to_string(*port)); !saved) {
      return fail(saved.error());
    }
  }
  return port;
}

Result<> Running::begin_managed_broker() {
  auto port = lasting_port("broker.port", config_.broker.port, config_.broker.address);
  if (!port) {
    return fail(port.error(), "choosing the broker's port");
  }
  const broker::MosquittoFiles files{config_.state_folder / "broker"};
  if (auto made = make_folder(files.folder, 0700); !made) {
    return made;
  }
  if (auto written = broker_access_.write_files(); !written) {
    return written;
  }
  const broker::MosquittoSettings settings{config_.broker.address, *port, user_name(), 1U << 20U};
  const std::pair<std::filesystem::path, std::string> contents[] = {
      {files.ca(), credentials_.ca.trust_pem()},
      {files.certificate(), credentials_.server_certificate},
      {files.key(), credentials_.server_key},
      {files.configuration(), broker::mosquitto_conf(files, settings)},
  };
  for (const auto& [file, content] : contents) {
    if (auto written = replace_file(file, content, 0600); !written) {
      return written;
    }
  }
  const bool bare = config_.broker.program == "mosquitto";
  auto started = broker::ManagedBroker::start(
      loop_, {bare && std::filesystem::exists("/usr/sbin/mosquitto") ? "/usr/sbin/mosquitto" : config_.broker.program,
              files.configuration(), files.log()});
  if (!started) {
    return fail(started.error());
  }
  broker_ = *std::move(started);
  broker_endpoint_.port = *port;
  return {};
}

bool Running::has_intermediates() const {
  return config_.broker.mode != "managed" && !is_own_ca(config_.broker.ca, credentials_.ca);
}

Result<> Running::begin_broker() {
  broker_endpoint_ = {config_.broker.public_host.empty() ? config_.broker.address : config_.broker.public_host,
                      static_cast<std::uint16_t>(config_.broker.port)};
  if (auto begun = config_.broker.mode == "managed" ? begin_managed_broker() : Result<>(); !begun) {
    return begun;
  }
  const std::string& host = config_.broker.address;
  broker_access_.begin(broker_.get(),
                       {host == "0.0.0.0" ? "127.0.0.1" : host, broker_endpoint_.port, has_intermediates()});
  return {};
}

Result<> Running::begin_link() {
  const bool managed = config_.broker.mode == "managed";
  const auto own = config_.state_folder / broker::coordinator_name;
  mqtt::Options options;
  options.host = config_.broker.address == "0.0.0.0" ? "127.0.0.1" : config_.broker.address;
  options.port = broker_endpoint_.port;
  options.client_id = broker::coordinator_name;
  options.ca_file = managed ? config_.state_folder / "ca.pem" : config_.broker.ca;
  options.intermediates = has_intermediates();
  options.certificate_file = managed ? own / "certificate.pem" : config_.broker.certificate;
  options.key_file = managed ? own / "key.pem" : config_.broker.key;
  options.session_expiry = 1h;
  options.mailbox_bytes = inbox_bytes;
  options.will =
      mqtt::Will{link_.topics().status(), wire::encode(wire::CoordinatorStatus{.version = std::string(version)}), true};
  return link_.open(std::move(options), {[this] {
                                           publish_status(true);
                                           runs_.connected();
                                         },
                                         [this](const mqtt::Message& message) { inbox_.on_message(message); }});
}

Result<> Running::begin_api() {
  auto port = lasting_port("api.port", config_.api.port, config_.api.address);
  if (!port) {
    return fail(port.error(), "choosing the API's port");
  }
  api_ = std::make_unique<Api>(Api::Parts{loop_, config_, clock_, registry_, fleet_, runs_, credentials_, life_,
                                          reports_, broker_access_, broker_endpoint_, models_, worker_,
                                          [this] { return not_ready(); },
                                          [this] { return status_json(status(true), fleet_, link_, inbox_bytes); }});
  http::ServerOptions options;
  options.address = config_.api.address;
  options.port = *port;
  options.certificate_pem = credentials_.server_certificate;
  options.key_pem = credentials_.server_key;
  options.plan_body = [this](const http::Request& head) { return api_->plan_body(head); };
  auto server = http::Server::start(loop_, std::move(options), [this](const http::Request& request, http::Reply reply) {
    api_->handle(request, std::move(reply));
  });
  if (!server) {
    return fail(server.error(), fmt::format("serving the API on {}:{}", config_.api.address, *port));
  }
  server_ = *std::move(server);
  return {};
}

std::string Running::api_url() const {
  const std::string host = config_.api.public_host.empty()
                               ? (config_.api.address == "0.0.0.0" ? "127.0.0.1" : config_.api.address)
                               : config_.api.public_host;
  return fmt::format("https://{}:{}", host, server_->port());
}

// The site works without it: what keeps it down is shown, and it is started again.
Result<> Running::begin_uplink() {
  if (config_.parent.url.empty()) {
    return {};
  }
  auto started = uplink::ManagedUplink::start(loop_, uplink_options(config_, api_url()));
  if (!started) {
    return fail(started.error());
  }
  uplink_ = *std::move(started);
  return {};
}

void Running::watch_uplink() {
  if (!uplink_) {
    return;
  }
  if (uplink_->problem().empty()) {
    health_.clear(uplink_condition);
  } else {
    health_.raise(uplink_condition, uplink_->problem());
  }
}

// For the person (or script) who set port = 0.
Result<> Running::write_endpoints() {
  const boost::json::object endpoints{{"api", api_url()},
                                      {"broker_host", broker_endpoint_.host},
                                      {"broker_port", broker_endpoint_.port},
                                      {"broker_pid", broker_ ? broker_->pid() : -1}};
  return replace_file(config_.state_folder / "endpoints.json", boost::json::serialize(endpoints) + "\n");
}

Result<> Running::make_admin_token() {
  const auto file = config_.state_folder / "admin.token";
  if (std::filesystem::exists(file)) {
    return {};
  }
  const std::string token = crypto::base64url(crypto::random_bytes(32));
  // The file may be lost, or was never written: whoever had that token has it no more.
  if (auto removed = registry_.remove_api_token("admin"); !removed) {
    return fail(removed.error());
  }
  // Stored in the registry first: a token nobody has is harmless, a file that does not work is not.
  if (auto added = registry_.add_api_token(crypto::sha256(token), registry::Role::admin, "admin"); !added) {
    return added;
  }
  return replace_file(file, token + "\n", 0600);
}

Result<> Running::begin() {
  if (auto made = make_admin_token(); !made) {
    return made;
  }
  if (auto loaded = fleet_.load(); !loaded) {
    return loaded;
  }
  if (auto begun = begin_broker(); !begun) {
    return begun;
  }
  if (auto begun = begin_api(); !begun) {
    return begun;
  }
  if (auto begun = begin_link(); !begun) {
    return begun;
  }
  if (auto written = write_endpoints(); !written) {
    return written;
  }
  if (auto begun = begin_uplink(); !begun) {
    return begun;
  }
  runs_.resume();
  tick();
  manager_.ready();
  log::info("coordinator", "fleet {}: API on port {}, broker on port {}", config_.fleet, server_->port(),
            broker_endpoint_.port);
  return {};
}

// Of a program that runs for years. Connections there are go on; new ones see the new certificate.
void Running::renew_certificates() {
  if (clock_.steady() - certificates_checked_ < certificate_check_interval) {
    return;
  }
  certificates_checked_ = clock_.steady();
  auto renewed = renew_credentials(config_, credentials_, unix_ms(clock_.wall()) / 1000);
  if (!renewed) {
    log::error("ca", "renewing the server's certificate: {}", renewed.error().what);
    return;
  }
  serving_due_ = serving_due_ || *renewed;
  if (auto served = serving_due_ ? serve_certificate() : Result<>(); !served) {
    log::error("ca", "serving the renewed certificate, which is tried again: {}", served.error().what);
    return;
  }
  if (std::exchange(serving_due_, false)) {
    log::info("ca", "the server's certificate is renewed");
  }
}

Result<> Running::serve_certificate() {
  auto served = server_->set_certificate(credentials_.server_certificate, credentials_.server_key);
  if (!served || !broker_) {
    return served;
  }
  const broker::MosquittoFiles files{config_.state_folder / "broker"};
  served = replace_file(files.key(), credentials_.server_key, 0600);
  served = served ? replace_file(files.certificate(), credentials_.server_certificate, 0600) : served;
  if (served) {  // never a key with another one's certificate
    broker_->reload();
  }
  return served;
}

void Running::tick() {
  runs_.tick();
  reports_.tick();
  renew_certificates();
  broker_access_.tick();
  watch_uplink();
  for (const DeviceId& device : fleet_.silent(clock_.steady())) {
    link_.command(device, "hello", wire::encode(wire::HelloRequest{fleet_.find(device)->state.session}));
  }
  const std::string problem = not_ready();
  manager_.status(problem.empty() ? fmt::format("fleet {}: {} of {} devices online, {} runs active", config_.fleet,
                                                fleet_.online(), fleet_.devices().size(), runs_.active_runs())
                                  : fmt::format("not ready: {}", problem));
  if (status_due_ || clock_.steady() - status_published_ >= status_interval) {
    publish_status(true);
  }
  ticker_.expires_after(1s);
  ticker_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) {
      tick();
    }
  });
}

void Running::runs_changed() {
  if (api_) {
    api_->changed();
  }
}

void Running::presence_changed() {
  runs_.fleet_changed();
  status_due_ = true;
  if (clock_.steady() - status_published_ >= shortest_status_interval) {
    publish_status(true);
  }
}

void Running::publish_status(bool online) {
  if (!link_.ready()) {
    return;
  }
  status_published_ = clock_.steady();
  status_due_ = false;
  link_.publish(link_.topics().status(), wire::encode(status(online)), {.qos = 1, .retain = true});
}

wire::CoordinatorStatus Running::status(bool online) const {
  wire::CoordinatorStatus status;
  status.online = online;
  status.version = version;
  status.role = config_.role;
  status.uptime_seconds = std::chrono::duration_cast<std::chrono::seconds>(clock_.steady() - started_).count();
  status.runs_active = runs_.active_runs();
  status.devices_online = fleet_.online();
  status.health = health_.shown();
  status.reconnect_window_seconds =
      transfer::reconnect_window(static_cast<std::int64_t>(fleet_.devices().size()), config_.reconnect.rate,
                                 std::chrono::duration_cast<std::chrono::seconds>(config_.reconnect.max_window))
          .count();
  return status;
}

std::string Running::not_ready() const {
  if (broker_ && !broker_->problem().empty()) {
    return broker_->problem();
  }
  return link_.ready() ? "" : link_.problem();
}

void Running::reload(const Config& config) {
  manager_.reloading();
  config_.log_level = config.log_level;
  config_.enrolment = config.enrolment;
  config_.reconnect = config.reconnect;
  auto level = log::Level::info;
  (void)log::parse_level(config_.log_level, level);
  log::set_level(level);
  log::info("coordinator",
            "the configuration was read again: log_level, [enrolment] and [reconnect] are in force; the "
            "rest is after a restart");
  publish_status(true);
  manager_.ready();
}

void Running::stop(std::function<void()> done) {
  stopping_ = true;
  manager_.stopping();
  ticker_.cancel();
  reports_.stop();
  broker_access_.stop();
  api_->stop();
  server_->stop();
  publish_status(false);
  const auto close = [this, done = std::move(done)] {
    link_.close([this, done] {
      worker_.stop();
      if (broker_) {
        broker_->stop(done);
      } else {
        done();
      }
    });
  };
  if (uplink_) {
    uplink_->stop(close);
  } else {
    close();
  }
}

}  // namespace

Result<std::unique_ptr<Coordinator>> Coordinator::start(boost::asio::any_io_executor loop, Config config) {
  auto fleet = FleetId::parse(config.fleet);
  if (!fleet) {
    return fail(fleet.error());
  }
  for (const auto& folder : {config.state_folder, config.state_folder / "models", config.state_folder / "sums"}) {
    if (auto made = make_folder(folder, 0700); !made) {
      return fail(made.error(), "state.folder");
    }
  }
  auto lock = lock_state(config.state_folder);
  if (!lock) {
    return fail(lock.error());
  }
  if (auto removed = aggregation::ModelFolder(config.state_folder / "models").remove_unfinished(); !removed) {
    log::warn("coordinator", "{}", removed.error().what);
  }
  static const SystemClock clock;
  auto registry = registry::Registry::open(config.state_folder / "coordinator.db", clock);
  if (!registry) {
    return fail(registry.error());
  }
  auto updates = blob::FileStore::open(config.state_folder / "updates");
  if (!updates) {
    return fail(updates.error());
  }
  auto downloads = open_downloads(config.state_folder / "downloads");
  if (!downloads) {
    return fail(downloads.error());
  }
  auto credentials = load_or_make_credentials(config);
  if (!credentials) {
    return fail(credentials.error());
  }
  auto running = std::make_unique<Running>(loop, std::move(config), *fleet, *std::move(lock), *std::move(registry),
                                           *std::move(updates), *std::move(downloads), *std::move(credentials));
  if (auto begun = running->begin(); !begun) {
    return fail(begun.error());
  }
  return running;
}

}  // namespace flops::coordinator
