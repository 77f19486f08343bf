// Tokens and enrolment.
#include <algorithm>

#include "api.hpp"
#include "api_body.hpp"
#include "api_json.hpp"
#include "flops/broker/mosquitto_config.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/enrolment_token.hpp"
#include "flops/health/conditions.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using registry::Enrolment;
using registry::Registry;
using registry::Renewal;

namespace {

constexpr std::size_t max_enrolment_body = std::size_t{16} * 1024U;

// None when it is not there.
Result<std::optional<wire::Role>> role_field(const json::object& object) {
  const auto* value = object.if_contains("role");
  if (value == nullptr) {
    return std::nullopt;
  }
  for (const wire::Role role : {wire::Role::device, wire::Role::cluster}) {
    if (value->is_string() && value->get_string() == json::string_view(wire::to_string(role))) {
      return role;
    }
  }
  return fail(ErrorKind::permanent, "'role': expected \"device\" or \"cluster\"");
}

http::Response refusal(Enrolment outcome, const DeviceId& device) {
  switch (outcome) {
    case Enrolment::token_used:
      return error_response(403, "token_used", "the token has been used up; ask for a new one (flopsctl token create)");
    case Enrolment::token_expired:
      return error_response(403, "token_expired", "the token has expired; ask for a new one (flopsctl token create)");
    case Enrolment::token_role:
      return error_response(403, "token_role",
                            "the token is for sites and this is a device, or the other way round; ask for another one "
                            "(flopsctl token create, with --site for a site's coordinator)");
    case Enrolment::token_device:
      return error_response(403, "token_device", "the token is for another device; ask for one for this device");
    case Enrolment::device_exists:
      return error_response(
          409, "device_exists",
          fmt::format("the id '{0}' belongs to a device with another key; choose another id or, when it is this device "
                      "and its key is lost, ask for a token that is made for it (flopsctl token create --device {0})",
                      device));
    case Enrolment::device_revoked:
      return error_response(
          403, "device_revoked",
          fmt::format("'{0}' has been revoked; it needs a new key (flops-agent enroll --new-key) and a token that is "
                      "made for it (flopsctl token create --device {0})",
                      device));
    default: return error_response(403, "token_unknown", "the coordinator does not know this token");
  }
}

http::Response renewal_refusal(Renewal::Outcome outcome, const DeviceId& device) {
  switch (outcome) {
    case Renewal::Outcome::revoked:
      return error_response(403, "device_revoked", fmt::format("'{}' has been revoked", device));
    case Renewal::Outcome::too_late:
      return error_response(
          403, "too_late",
          fmt::format("the certificate of '{0}' expired too long ago: enrol it again with a new token "
                      "(flopsctl token create)",
                      device));
    // To a stranger both are the same.
    default: return error_response(403, "device_unknown", "no device of this fleet has this id and this key");
  }
}

}  // namespace

http::Response Api::make_token(const http::Request& request, const registry::ApiCaller& caller) {
  auto body = parse_body(request.body);
  if (!body) {
    return error_response(body.error());
  }
  auto uses = integer_field(*body, "uses", 1, 1, 1'000'000);
  auto expires = integer_field(*body, "expires_seconds", 86'400, 60, 365LL * 86'400);
  if (!uses || !expires) {
    return error_response(uses ? expires.error() : uses.error());
  }
  const auto said = role_field(*body);
  if (!said) {
    return error_response(400, "bad_request", said.error().what);
  }
  auto by_hand = boolean_field(*body, "approve");
  if (!by_hand) {
    return error_response(400, "bad_request", by_hand.error().what);
  }
  const auto secret = crypto::EnrolmentToken::generate(parts_.credentials.ca.fingerprint());
  registry::NewToken token;
  token.secret = secret.secret_digest();
  token.uses = *uses;
  token.expires_at = unix_ms(parts_.clock.wall()) + *expires * 1000;
  token.note = health::cut(text_field(*body, "note"), 256);
  token.role = said->value_or(wire::Role::device);
  token.by_hand = *by_hand;
  if (const std::string device = text_field(*body, "device"); !device.empty()) {
    auto id = DeviceId::parse(device);
    if (!id) {
      return error_response(400, "bad_request", fmt::format("'device': {}", id.error().what));
    }
    token.only_for = *std::move(id);
  }
  auto id = parts_.registry.add_enrolment_token(token);
  auto noted = id ? parts_.registry.note(caller.name, "token created", fmt::format("token {}", *id), token.note)
                  : Result<>(fail(id.error()));
  if (!noted) {
    return error_response(noted.error());
  }
  return json_response(201, {{"id", *id},
                             {"token", secret.text()},
                             {"role", wire::to_string(token.role)},
                             {"uses", *uses},
                             {"approve", token.by_hand},
                             {"device", token.only_for ? json::value(token.only_for->str()) : json::value(nullptr)},
                             {"expires_at", iso8601(token.expires_at)}});
}

http::Response Api::list_tokens() {
  auto rows = parts_.registry.enrolment_tokens();
  if (!rows) {
    return error_response(rows.error());
  }
  json::array tokens;
  for (const auto& row : *rows) {
    tokens.emplace_back(json::object{{"id", row.id},
                                     {"note", row.note},
                                     {"role", wire::to_string(row.role)},
                                     {"uses_left", row.uses_left},
                                     {"approve", row.by_hand},
                                     {"device", row.only_for ? json::value(row.only_for->str()) : json::value(nullptr)},
                                     {"expires_at", iso8601(row.expires_at)},
                                     {"created_at", iso8601(row.created_at)}});
  }
  return json_response(200, {{"tokens", std::move(tokens)}});
}

http::Response Api::enrol(const http::Request& request) {
  if (request.body.size() > max_enrolment_body) {
    return error_response(413, "too_large", "an enrolment request has at most 16 KiB");
  }
  auto body = parse_body(request.body);
  if (!body) {
    return error_response(body.error());
  }
  const auto* spoken = body->if_contains("v");
  if (spoken == nullptr || !spoken->is_int64() || spoken->get_int64() != protocol_version) {
    return error_response(400, "bad_request", fmt::format("'v' must be {}", protocol_version));
  }
  auto device = DeviceId::parse(text_field(*body, "device"));
  if (!device) {
    return error_response(400, "bad_request", device.error().what);
  }
  if (device->str() == broker::coordinator_name || device->str() == broker::observer_name) {
    return error_response(400, "bad_request", fmt::format("the id '{}' is reserved", *device));
  }
  auto token = crypto::EnrolmentToken::parse(text_field(*body, "token"));
  if (!token) {
    return error_response(403, "token_unknown", token.error().what);
  }
  const std::string csr_pem = text_field(*body, "csr");
  auto csr = crypto::read_csr(csr_pem);
  if (!csr) {
    return error_response(400, "bad_csr", csr.error().what);
  }
  if (csr->common_name != device->str()) {
    return error_response(400, "bad_csr",
                          fmt::format("the request is for '{}', not for '{}'", csr->common_name, *device));
  }
  auto role = role_field(*body);
  if (!role) {
    return error_response(400, "bad_request", role.error().what);
  }
  const bool needs_authority = body->contains("authority_csr");
  const std::string authority_csr = text_field(*body, "authority_csr");
  if (auto checked = needs_authority ? crypto::read_csr(authority_csr) : csr; !checked) {
    return error_response(400, "bad_csr", fmt::format("'authority_csr': {}", checked.error().what));
  }
  std::string certificate;
  std::string authority;
  const registry::Newcomer newcomer{*device, csr->public_key_digest, needs_authority ? wire::Role::cluster : *role};
  auto admission = parts_.registry.enrol(token->secret_digest(), newcomer, [&] {
    auto issued = parts_.life.issue(*device, csr_pem);
    if (issued && needs_authority) {
      auto made = parts_.credentials.ca.issue_authority(authority_csr, device->str());
      if (!made) {
        return Result<registry::IssuedCertificate>(fail(made.error()));
      }
      authority = *std::move(made);
    }
    certificate = issued ? issued->pem : "";
    return issued;
  });
  if (!admission) {
    log::error("enrolment", "{}: {}", *device, admission.error().what);
    return error_response(admission.error());
  }
  if (admission->outcome == Enrolment::pending || admission->outcome == Enrolment::done) {
    parts_.life.enrolled(*device, admission->key_replaced);
  }
  if (admission->outcome == Enrolment::pending) {
    return json_response(
        202,
        {{"v", protocol_version}, {"device", device->str()}, {"state", "pending"}, {"key", csr->public_key_digest}});
  }
  if (admission->outcome != Enrolment::done) {
    log::warn("enrolment", "refused {} from {}", *device, request.peer);
    return refusal(admission->outcome, *device);
  }
  json::object answer{{"v", protocol_version},
                      {"device", device->str()},
                      {"fleet", parts_.config.fleet},
                      {"certificate", certificate},
                      {"ca", parts_.credentials.ca.trust_pem()},
                      {"broker", json::object{{"host", parts_.broker.host}, {"port", parts_.broker.port}}}};
  if (needs_authority) {
    log::info("enrolment", "{} has an authority of its own now, under the fleet's", *device);
    answer["authority"] = authority;
  }
  return json_response(200, std::move(answer));
}

// With the key alone: of a device whose certificate has expired, so that the broker does not let it in. What it gets is
// of use only to who holds the key.
http::Response Api::renew(const http::Request& request) {
  if (request.body.size() > max_enrolment_body) {
    return error_response(413, "too_large", "a renewal request has at most 16 KiB");
  }
  auto body = parse_body(request.body);
  auto device = body ? DeviceId::parse(text_field(*body, "device")) : Result<DeviceId>(fail(body.error()));
  if (!device) {
    return error_response(400, "bad_request", device.error().what);
  }
  auto renewal = parts_.life.renew(*device, text_field(*body, "csr"));
  if (!renewal) {
    const bool bad = renewal.error().kind == ErrorKind::permanent || renewal.error().kind == ErrorKind::corrupt;
    return bad ? error_response(400, "bad_csr", renewal.error().what) : error_response(renewal.error());
  }
  if (renewal->pem.empty()) {
    log::warn("enrolment", "refused a new certificate for {} to {}", *device, request.peer);
    return renewal_refusal(renewal->outcome, *device);
  }
  return json_response(200, {{"v", protocol_version}, {"device", device->str()}, {"certificate", renewal->pem}});
}

}  // namespace flops::coordinator
