#include "identity.hpp"

#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"

namespace flops::agent {
namespace {

bool is_host(std::string_view text) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:";
  return !text.empty() && text.size() <= 255 && text.find_first_not_of(allowed) == std::string_view::npos;
}

Result<std::string> text_of(const boost::json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) {
    return fail(ErrorKind::corrupt, "'{}': expected text", name);
  }
  return std::string(value->get_string());
}

}  // namespace

IdentityFiles::IdentityFiles(const std::filesystem::path& state_folder)
    : folder(state_folder / "identity"),
      key(folder / "key.pem"),
      next_key(folder / "key.next.pem"),
      certificate(folder / "certificate.pem"),
      ca(folder / "ca.pem"),
      enrolment(folder / "enrolment.json") {}

Result<boost::json::object> parse_json_object(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 8;
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(text, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::corrupt, "not a JSON object: {}", error ? error.message() : "another value");
  }
  return std::move(value.get_object());
}

Result<Identity> read_enrolment(const boost::json::object& object, const IdentityFiles& files) {
  auto device_text = text_of(object, "device");
  auto fleet_text = text_of(object, "fleet");
  if (!device_text || !fleet_text) {
    return fail(device_text ? fleet_text.error() : device_text.error());
  }
  auto device = DeviceId::parse(*device_text);
  auto fleet = FleetId::parse(*fleet_text);
  if (!device || !fleet) {
    return fail(ErrorKind::corrupt, "{}", device ? fleet.error().what : device.error().what);
  }
  const auto* broker = object.if_contains("broker");
  if (broker == nullptr || !broker->is_object()) {
    return fail(ErrorKind::corrupt, "'broker': expected an object");
  }
  auto host = text_of(broker->get_object(), "host");
  const auto* port = broker->get_object().if_contains("port");
  if (!host || !is_host(*host) || port == nullptr || !port->is_int64() || port->get_int64() < 1 ||
      port->get_int64() > 65535) {
    return fail(ErrorKind::corrupt, "'broker': expected a host and a port from 1 to 65535");
  }
  Identity identity;
  identity.device = *std::move(device);
  identity.fleet = *std::move(fleet);
  identity.broker_host = *std::move(host);
  identity.broker_port = static_cast<std::uint16_t>(port->get_int64());
  identity.ca_file = files.ca;
  identity.certificate_file = files.certificate;
  identity.key_file = files.key;
  return identity;
}

std::string write_enrolment(const Identity& identity) {
  return boost::json::serialize(boost::json::object{
             {"device", identity.device.str()},
             {"fleet", identity.fleet.str()},
             {"coordinator", identity.coordinator},
             {"broker", boost::json::object{{"host", identity.broker_host}, {"port", identity.broker_port}}}}) +
         "\n";
}

bool is_enrolled(const std::filesystem::path& state_folder) {
  std::error_code error;
  return std::filesystem::exists(IdentityFiles(state_folder).enrolment, error);
}

Result<Identity> load_identity(const std::filesystem::path& state_folder) {
  const IdentityFiles files(state_folder);
  if (!is_enrolled(state_folder)) {
    return fail(ErrorKind::permanent, "this device is not enrolled: there is no {}", files.enrolment.string());
  }
  auto text = read_file(files.enrolment, max_identity_file);
  if (!text) {
    return fail(text.error());
  }
  auto object = parse_json_object(*text);
  auto coordinator = object ? text_of(*object, "coordinator") : Result<std::string>(fail(object.error()));
  if (!coordinator) {
    return fail(coordinator.error(), files.enrolment.string());
  }
  auto identity = read_enrolment(*object, files);
  if (!identity) {
    return fail(identity.error(), files.enrolment.string());
  }
  identity->coordinator = *std::move(coordinator);
  return identity;
}

Result<CertificateLife> certificate_life(const Identity& identity) {
  auto pem = read_file(identity.certificate_file, max_identity_file);
  if (!pem) {
    return fail(pem.error());
  }
  auto info = crypto::read_certificate(*pem);
  if (!info) {
    return fail(info.error(), identity.certificate_file.string());
  }
  return CertificateLife{info->not_before, info->not_after};
}

health::ClockFinding check_clock(const Identity& identity, std::int64_t now, std::int64_t newest_seen) {
  std::vector<health::Validity> certificates;
  for (const auto& [file, whose] : {std::pair(identity.ca_file, "the CA's certificate"),
                                    std::pair(identity.certificate_file, "this device's certificate")}) {
    auto pem = read_file(file, max_identity_file);
    auto info = pem ? crypto::read_certificate(*pem) : Result<crypto::CertificateInfo>(fail(pem.error()));
    if (info) {
      certificates.push_back({whose, info->not_before, info->not_after});
    }
  }
  return health::judge_clock(now, certificates, newest_seen);
}

}  // namespace flops::agent
