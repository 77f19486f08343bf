// Who may use the API, and who did what.
#include <algorithm>
#include <charconv>

#include "api.hpp"
#include "api_body.hpp"
#include "api_json.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::coordinator {

namespace json = boost::json;

namespace {

constexpr std::int64_t most_audit_rows = 10'000;

}  // namespace

http::Response Api::make_access(const http::Request& request, const registry::ApiCaller& caller) {
  auto body = parse_body(request.body);
  if (!body) {
    return error_response(body.error());
  }
  const std::string name = text_field(*body, "name");
  const auto role = registry::parse_role(text_field(*body, "role"));
  if (!is_valid_id(name) || !role) {
    return error_response(400, "bad_request",
                          role ? "'name': expected a-z, 0-9, '.', '_', '-', at most 64"
                               : "'role': expected \"viewer\", \"operator\" or \"admin\"");
  }
  if (name == "coordinator") {
    return error_response(400, "bad_request", "'name': in the audit log that is the coordinator itself");
  }
  const std::string token = crypto::base64url(crypto::random_bytes(32));
  if (auto added = parts_.registry.add_api_token(crypto::sha256(token), *role, name); !added) {
    return added.error().kind == ErrorKind::permanent ? error_response(409, "name_taken", added.error().what)
                                                      : error_response(added.error());
  }
  if (auto noted = parts_.registry.note(caller.name, "access given", name, registry::to_string(*role)); !noted) {
    return error_response(noted.error());
  }
  return json_response(201, {{"name", name}, {"role", registry::to_string(*role)}, {"token", token}});
}

http::Response Api::list_access() {
  auto rows = parts_.registry.api_tokens();
  if (!rows) {
    return error_response(rows.error());
  }
  json::array access;
  for (const registry::ApiTokenRow& row : *rows) {
    access.emplace_back(json::object{{"name", row.caller.name},
                                     {"role", registry::to_string(row.caller.role)},
                                     {"created_at", iso8601(row.created_at)}});
  }
  return json_response(200, {{"access", std::move(access)}});
}

http::Response Api::remove_access(const std::string& name, const registry::ApiCaller& caller) {
  auto rows = parts_.registry.api_tokens();
  if (!rows) {
    return error_response(rows.error());
  }
  const auto is_admin = [](const registry::ApiTokenRow& row) { return row.caller.role == registry::Role::admin; };
  const auto found = std::ranges::find(*rows, name, [](const registry::ApiTokenRow& row) { return row.caller.name; });
  if (found == rows->end()) {
    return error_response(404, "not_found", "there is no token with this name");
  }
  if (is_admin(*found) && std::ranges::count_if(*rows, is_admin) == 1) {
    return error_response(409, "last_admin", "it is the only token of the role admin; make another one first");
  }
  auto removed = parts_.registry.remove_api_token(name);
  auto noted = removed ? parts_.registry.note(caller.name, "access taken", name) : Result<>(fail(removed.error()));
  return noted ? http::Response{.status = 204} : error_response(noted.error());
}

http::Response Api::audit_log(const http::Request& request) {
  const auto value = [&](const char* key) {
    const auto found = request.query.find(key);
    return found == request.query.end() ? std::string() : found->second;
  };
  std::int64_t limit = 100;
  const std::string text = value("limit");
  (void)std::from_chars(text.data(), text.data() + text.size(), limit);
  auto rows = parts_.registry.audit_log(value("target"), std::clamp<std::int64_t>(limit, 1, most_audit_rows));
  if (!rows) {
    return error_response(rows.error());
  }
  json::array audit;
  for (const registry::AuditRow& row : *rows) {
    audit.emplace_back(json::object{{"at", iso8601(row.at)},
                                    {"who", row.who},
                                    {"action", row.action},
                                    {"target", row.target},
                                    {"detail", row.detail}});
  }
  return json_response(200, {{"audit", std::move(audit)}});
}

}  // namespace flops::coordinator
