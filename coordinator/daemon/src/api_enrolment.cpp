// Tokens and enrolment.
#include <algorithm>

#include "api.hpp"
#include "api_json.hpp"
#include "flops/broker/mosquitto_config.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/enrolment_token.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using registry::Registry;

namespace {

constexpr std::size_t max_enrolment_body = std::size_t{16} * 1024U;

Result<json::object> parse_body(const std::string& body) {
  json::parse_options options;
  options.max_depth = 4;
  json::error_code error;
  json::value value = json::parse(body, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::permanent, "the body must be a JSON object");
  }
  return std::move(value.get_object());
}

std::string text_field(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  const auto* string = value != nullptr ? value->if_string() : nullptr;
  return string != nullptr ? std::string(string->data(), string->size()) : std::string();
}

Result<std::int64_t> integer_field(const json::object& object, std::string_view name, std::int64_t fallback,
                                   std::int64_t min, std::int64_t max) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) {
    return fallback;
  }
  const auto* number = value->if_int64();
  if (number == nullptr || *number < min || *number > max) {
    return fail(ErrorKind::permanent, "'{}': expected an integer from {} to {}", name, min, max);
  }
  return *number;
}

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

http::Response refusal(Registry::Enrolment outcome, const DeviceId& device) {
  switch (outcome) {
    case Registry::Enrolment::token_used:
      return error_response(403, "token_used", "the token has been used up; ask for a new one (flopsctl token create)");
    case Registry::Enrolment::token_expired:
      return error_response(403, "token_expired", "the token has expired; ask for a new one (flopsctl token create)");
    case Registry::Enrolment::token_role:
      return error_response(403, "token_role",
                            "the token is for sites and this is a device, or the other way round; ask for another one "
                            "(flopsctl token create, with --site for a site's coordinator)");
    case Registry::Enrolment::device_exists:
      return error_response(409, "device_exists",
                            fmt::format("the id '{}' belongs to a device with another key; choose another id", device));
    default: return error_response(403, "token_unknown", "the coordinator does not know this token");
  }
}

}  // namespace

http::Response Api::make_token(const http::Request& request) {
  auto body = parse_body(request.body.empty() ? "{}" : request.body);
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
  const wire::Role role = said->value_or(wire::Role::device);
  const auto token = crypto::EnrolmentToken::generate(parts_.credentials.ca.fingerprint());
  const std::int64_t expires_at = unix_ms(parts_.clock.wall()) + *expires * 1000;
  auto id = parts_.registry.add_enrolment_token(token.secret_digest(), *uses, expires_at,
                                                text_field(*body, "note").substr(0, 256), role);
  if (!id) {
    return error_response(id.error());
  }
  return json_response(201, {{"id", *id},
                             {"token", token.text()},
                             {"role", wire::to_string(role)},
                             {"uses", *uses},
                             {"expires_at", iso8601(expires_at)}});
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
  const Registry::Newcomer newcomer{*device, csr->public_key_digest, needs_authority ? wire::Role::cluster : *role};
  auto outcome = parts_.registry.enrol(token->secret_digest(), newcomer, [&]() -> Result<Registry::Issued> {
    const auto& ca = parts_.credentials.ca;
    crypto::IssueRequest issue;
    issue.common_name = device->str();
    issue.lifetime = std::chrono::duration_cast<std::chrono::seconds>(parts_.config.enrolment.certificate_lifetime);
    auto issued = ca.issue(csr_pem, issue);
    auto info = issued ? crypto::read_certificate(*issued) : Result<crypto::CertificateInfo>(fail(issued.error()));
    if (!info) {
      return fail(info.error());
    }
    if (needs_authority) {
      auto made = ca.issue_authority(authority_csr, device->str());
      if (!made) {
        return fail(made.error());
      }
      authority = *std::move(made);
    }
    certificate = *std::move(issued);
    return Registry::Issued{info->serial, info->not_after};
  });
  if (!outcome) {
    log::error("enrolment", "{}: {}", *device, outcome.error().what);
    return error_response(outcome.error());
  }
  if (*outcome != Registry::Enrolment::done) {
    log::warn("enrolment", "refused {} from {}", *device, request.peer);
    return refusal(*outcome, *device);
  }
  parts_.fleet.added(*device);
  parts_.runs.fleet_changed();  // what it was before, it may not be any more
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

}  // namespace flops::coordinator
