// Devices: what they are, what becomes of them, what is wanted of them, what they tell of themselves.
#include <array>

#include "api.hpp"
#include "api_body.hpp"
#include "api_json.hpp"
#include "flops/health/conditions.hpp"

namespace flops::coordinator {

namespace json = boost::json;
using registry::Standing;

namespace {

constexpr std::array<std::pair<std::string_view, Standing>, 3> verbs{
    {{"approve", Standing::accepted}, {"quarantine", Standing::quarantined}, {"revoke", Standing::revoked}}};

struct DevicePath {
  std::string id;
  std::string verb;  // empty: the device itself
};

// Of "/pi-1/approve".
DevicePath parse_path(const std::string& rest) {
  const auto slash = rest.find('/', 1);
  return slash == std::string::npos ? DevicePath{rest.substr(1), ""}
                                    : DevicePath{rest.substr(1, slash - 1), rest.substr(slash + 1)};
}

// Takes the changes of one map: text sets, null takes back. A description of them for the audit log.
Result<std::string> merge(const json::object& body, const char* field, std::map<std::string, std::string>& into,
                          std::size_t most, std::size_t longest) {
  const auto* value = body.if_contains(field);
  if (value == nullptr) {
    return std::string();
  }
  if (!value->is_object()) {
    return fail(ErrorKind::permanent, "'{}': expected an object", field);
  }
  std::string changes;
  for (const auto& [key, item] : value->get_object()) {
    const std::string name(key);
    const auto* text = item.if_string();
    const bool clean = text == nullptr || std::ranges::none_of(*text, [](unsigned char c) { return c < 0x20; });
    if (name.empty() || name.size() > wire::max_label_name || (text == nullptr && !item.is_null()) || !clean ||
        (text != nullptr && text->size() > longest)) {
      return fail(ErrorKind::permanent, "'{}' of '{}': expected one line of text of at most {} bytes, or null", name,
                  field, longest);
    }
    if (text == nullptr) {
      into.erase(name);
      changes += fmt::format("{}{}-", changes.empty() ? "" : " ", name);
    } else {
      into[name] = std::string(text->data(), text->size());
      changes += fmt::format("{}{}={}", changes.empty() ? "" : " ", name, into[name]);
    }
  }
  if (into.size() > most) {
    return fail(ErrorKind::permanent, "'{}': at most {}", field, most);
  }
  return changes;
}

}  // namespace

http::Response Api::route_device(const http::Request& request, const std::string& rest,
                                 const registry::ApiCaller& caller) {
  if (rest.empty()) {
    if (request.method != "GET") {
      return error_response(405, "method", "only GET");
    }
    json::array devices;
    for (const auto& [id, device] : parts_.fleet.devices()) {
      devices.emplace_back(device_json(device));
    }
    return json_response(200, {{"devices", std::move(devices)}});
  }
  const auto& [text, verb] = parse_path(rest);
  auto id = DeviceId::parse(text);
  const Device* found = id ? parts_.fleet.find(*id) : nullptr;
  if (found == nullptr) {
    return error_response(404, "not_found", "there is no such device");
  }
  if (verb.empty() && request.method == "GET") {
    return json_response(200, device_json(*found));
  }
  if (caller.role == registry::Role::viewer) {
    return error_response(403, "denied", "this needs the role operator");
  }
  if (verb.empty()) {
    return request.method == "PATCH" ? configure(*found, request, caller)
                                     : error_response(405, "method", "only GET and PATCH");
  }
  return request.method == "POST" ? set_standing(*found, verb, request, caller)
                                  : error_response(405, "method", "only POST");
}

http::Response Api::set_standing(const Device& device, const std::string& verb, const http::Request& request,
                                 const registry::ApiCaller& caller) {
  const auto* const wanted = std::ranges::find(verbs, verb, &std::pair<std::string_view, Standing>::first);
  if (wanted == verbs.end()) {
    return error_response(404, "not_found", fmt::format("there is no {}", request.path));
  }
  auto body = parse_body(request.body);
  if (!body) {
    return error_response(body.error());
  }
  const DeviceId id = device.row.id;
  auto set = parts_.life.set_standing(id, wanted->second, health::cut(text_field(*body, "reason"), 256), caller.name);
  if (!set) {
    return set.error().kind == ErrorKind::permanent ? error_response(409, "state", set.error().what)
                                                    : error_response(set.error());
  }
  return json_response(200, device_json(*parts_.fleet.find(id)));
}

http::Response Api::configure(const Device& device, const http::Request& request, const registry::ApiCaller& caller) {
  auto body = parse_body(request.body);
  if (!body) {
    return error_response(body.error());
  }
  const DeviceId id = device.row.id;
  wire::Configuration wanted = device.row.wanted;
  auto labels = merge(*body, "labels", wanted.labels, wire::max_labels, wire::max_label_value);
  auto settings = labels ? merge(*body, "settings", wanted.settings, wire::max_settings, wire::max_setting)
                         : Result<std::string>("");
  if (!labels || !settings) {
    return error_response(400, "bad_request", labels ? settings.error().what : labels.error().what);
  }
  const std::string changes = *labels + (labels->empty() || settings->empty() ? "" : " ") + *settings;
  if (auto done = changes.empty() ? Result<>() : parts_.life.configure(id, std::move(wanted), caller.name, changes);
      !done) {
    return error_response(done.error());
  }
  return json_response(200, device_json(*parts_.fleet.find(id)));
}

// True when the answer waits for the device.
bool Api::ask_report(const http::Request& request, const registry::ApiCaller& caller, http::Reply& reply) {
  constexpr std::string_view prefix = "/v1/devices/";
  if (!request.path.starts_with(prefix) || caller.role == registry::Role::viewer) {
    return false;
  }
  const auto& [text, verb] = parse_path(request.path.substr(prefix.size() - 1));
  auto id = DeviceId::parse(text);
  const Device* device = id ? parts_.fleet.find(*id) : nullptr;
  if (device == nullptr || (verb != "log" && verb != "diagnosis")) {
    return false;
  }
  if (!device->state.online) {
    reply(error_response(409, "offline", fmt::format("{} is offline", *id)));
    return true;
  }
  parts_.reports.ask(*id, verb, std::move(reply));
  return true;
}

}  // namespace flops::coordinator
