#include "replayer.hpp"

#include <csignal>
#include <fstream>

#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"

namespace flops::faults {
namespace {

constexpr const char* name = "stranger";

Result<> make_identity(const Fleet& fleet, const std::filesystem::path& folder) {
  auto ca_pem = read_file(fleet.coordinator_state() / "ca.pem");
  auto ca_key = read_file(fleet.coordinator_state() / "ca.key");
  if (!ca_pem || !ca_key) {
    return fail(ca_pem ? ca_key.error() : ca_pem.error());
  }
  auto ca = crypto::CertificateAuthority::load(*ca_pem, *ca_key);
  auto key = crypto::PrivateKey::generate();
  if (!ca || !key) {
    return fail(ca ? key.error() : ca.error());
  }
  auto csr = crypto::make_csr(*key, name);
  auto certificate = csr ? ca->issue(*csr, {.common_name = name}) : csr;
  auto key_pem = key->to_pem();
  if (!certificate || !key_pem) {
    return fail(certificate ? key_pem.error() : certificate.error());
  }
  for (const auto& [file, content] : {std::pair("certificate.pem", *certificate), std::pair("key.pem", *key_pem)}) {
    if (auto written = replace_file(folder / file, content, 0600); !written) {
      return written;
    }
  }
  return {};
}

// The coordinator writes the list anew at its next start.
Result<> grant_everything(const Fleet& fleet) {
  std::ofstream acl(fleet.coordinator_state() / "broker" / "acl", std::ios::app);
  acl << "user " << name << "\ntopic readwrite flops/v1/" << fleet_name << "/#\n";
  acl.close();
  if (!acl || ::kill(fleet.broker_pid(), SIGHUP) != 0) {
    return fail(ErrorKind::permanent, "the broker's rights cannot be changed");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Replayer>> Replayer::join(Stage& stage, Fleet& fleet) {
  const auto folder = stage.folder / name;
  if (auto made = make_folder(folder); !made) {
    return fail(made.error());
  }
  if (auto made = make_identity(fleet, folder); !made) {
    return fail(made.error());
  }
  if (auto granted = grant_everything(fleet); !granted) {
    return fail(granted.error());
  }
  std::unique_ptr<Replayer> replayer(new Replayer(stage));
  if (auto connected = replayer->connect(fleet, folder); !connected) {
    return fail(connected.error());
  }
  return replayer;
}

Result<> Replayer::connect(Fleet& fleet, const std::string& folder) {
  auto endpoints = read_file(fleet.coordinator_state() / "endpoints.json");
  const std::size_t at = endpoints ? endpoints->find("\"broker_port\":") : std::string::npos;
  if (at == std::string::npos) {
    return fail(ErrorKind::permanent, "the coordinator does not say where its broker is");
  }
  mqtt::Options options;
  options.host = "127.0.0.1";
  options.port = static_cast<std::uint16_t>(std::stoi(endpoints->substr(at + 14)));
  options.client_id = name;
  options.ca_file = fleet.coordinator_state() / "ca.pem";
  options.certificate_file = folder + "/certificate.pem";
  options.key_file = folder + "/key.pem";
  mqtt::Handlers handlers;
  bool subscribed = false;
  handlers.connected = [this, &subscribed](bool) {
    connected_ = true;
    const std::string devices = fmt::format("flops/v1/{}/devices/+/", fleet_name);
    client_->subscribe({devices + "cmd/#", devices + "up/#", devices + "blob/#", devices + "state"},
                       [&subscribed](const Result<>& outcome) { subscribed = outcome.has_value(); });
  };
  handlers.message = [this](mqtt::Message message) { hear(std::move(message)); };
  auto client = mqtt::Client::create(stage_.loop.get_executor(), std::move(options), std::move(handlers));
  if (!client) {
    return fail(client.error());
  }
  client_ = *std::move(client);
  client_->connect();
  return stage_.until("the stranger to listen", [&] { return subscribed; }, std::chrono::seconds(20));
}

void Replayer::hear(mqtt::Message message) {
  if (const auto ours = own_.find({message.topic, message.payload}); ours != own_.end()) {
    own_.erase(ours);
    return;
  }
  if (echo_) {
    publish(message);
  }
  heard_.push_back(std::move(message));
}

void Replayer::publish(const mqtt::Message& message) {
  own_.emplace(message.topic, message.payload);
  ++unsaid_;
  client_->publish(message.topic, message.payload, {}, [this](const Result<>& outcome) {
    --unsaid_;
    if (!outcome) {
      stage_.problem(fmt::format("a message could not be repeated: {}", outcome.error().what));
    }
  });
}

Result<> Replayer::say(const std::vector<mqtt::Message>& messages) {
  stage_.struck("messages");
  for (const mqtt::Message& message : messages) {
    publish(message);
  }
  return stage_.until("the broker to take repeated messages", [this] { return unsaid_ == 0; });
}

}  // namespace flops::faults
