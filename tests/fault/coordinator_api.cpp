#include "coordinator_api.hpp"

#include <boost/json.hpp>

#include "flops/core/file.hpp"

namespace flops::faults {

namespace json = boost::json;

namespace {

constexpr std::chrono::seconds answer_within{5};
constexpr int first_server_error = 500;

Result<json::object> parse_object(const std::string& text) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object()) {
    return fail(ErrorKind::corrupt, "not a JSON object: {}", text.substr(0, 200));
  }
  return std::move(value.as_object());
}

}  // namespace

Result<CoordinatorApi> CoordinatorApi::of(const std::filesystem::path& state) {
  auto endpoints = read_file(state / "endpoints.json");
  auto ca = read_file(state / "ca.pem");
  auto token = read_file(state / "admin.token");
  if (!endpoints || !ca || !token) {
    return fail(ErrorKind::transient, "the coordinator has not written its addresses yet");
  }
  auto document = parse_object(*endpoints);
  if (!document || !document->contains("api")) {
    return fail(ErrorKind::corrupt, "endpoints.json: {}", *endpoints);
  }
  CoordinatorApi api;
  api.address_ = document->at("api").as_string().c_str();
  api.options_.ca_pem = *ca;
  api.options_.bearer = token->substr(0, token->find('\n'));
  api.options_.timeout = answer_within;
  return api;
}

Result<json::object> CoordinatorApi::get(const std::string& path) const {
  return ask("GET", path, "");
}

Result<json::object> CoordinatorApi::post(const std::string& path, const json::object& body) const {
  return ask("POST", path, json::serialize(body));
}

Result<json::object> CoordinatorApi::ask(std::string_view method, const std::string& path,
                                         const std::string& body) const {
  auto url = http::Url::parse(address_ + "/v1/" + path);
  if (!url) {
    return fail(url.error());
  }
  auto answer = http::request(method, *url, body, options_);
  if (!answer) {
    return fail(answer.error());
  }
  if (answer->status < 200 || answer->status >= 300) {
    return fail(answer->status >= first_server_error ? ErrorKind::transient : ErrorKind::permanent,
                "{} {}: status {}: {}", method, path, answer->status, answer->body.substr(0, 200));
  }
  return parse_object(answer->body);
}

}  // namespace flops::faults
