#include "api.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "flops/http/client.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t max_answer = 64U << 20U;
constexpr std::size_t max_depth = 16;
constexpr std::size_t shown_body = 200;
constexpr std::chrono::seconds longest_answer{40};  // a device may be asked for half a minute

Outcome<json::value> parse_answer(std::string_view body) {
  json::parse_options options;
  options.max_depth = max_depth;
  boost::system::error_code error;
  json::value value = json::parse({body.data(), body.size()}, error, {}, options);
  if (error || !value.is_object()) {
    return give_up(exit_failed, "the coordinator's answer is not a JSON object{}: is this the address of its API?",
                   error ? " (" + error.message() + ")" : std::string());
  }
  return value;
}

ExitCode code_of(int status) {
  switch (status) {
    case 401:
    case 403: return exit_denied;
    case 404: return exit_not_found;
    case 502:
    case 503:
    case 504: return exit_unreachable;
    default: return exit_failed;
  }
}

std::unexpected<Failure> refused(int status, std::string_view body) {
  std::string message = report::printable(body.substr(0, shown_body));
  if (const auto answer = parse_answer(body)) {
    if (const json::value* error = answer->as_object().if_contains("error")) {
      message = report::printable(report::text_field(*error, "message").value_or(message));
      const auto code = report::text_field(*error, "code");
      message += code ? " (" + report::printable(*code) + ")" : "";
    }
  }
  const std::string_view advice = status == 401   ? "; check the token file"
                                  : status == 403 ? "; this token's role does not allow it"
                                                  : "";
  return give_up(code_of(status), "the coordinator answered {}: {}{}", status, message, advice);
}

std::unexpected<Failure> failed(const Error& error, const std::string& coordinator) {
  switch (error.kind) {
    case ErrorKind::transient:
      return give_up(exit_unreachable, "cannot reach the coordinator at {}: {}", coordinator, error.what);
    case ErrorKind::clock: return give_up(exit_denied, "{}", error.what);
    case ErrorKind::denied:
      return give_up(exit_denied, "{} is not trusted: {}; check the CA file", coordinator, error.what);
    default: return give_up(exit_failed, "{}", error.what);
  }
}

}  // namespace

Outcome<json::value> Api::call(std::string_view method, std::string_view path, std::string_view body,
                               std::chrono::milliseconds timeout) const {
  const auto url = http::Url::parse(settings_.coordinator + std::string(path));
  if (!url) {
    return give_up(exit_failed, "{}", url.error().what);
  }
  http::ClientOptions options;
  options.ca_pem = settings_.ca_pem;
  options.bearer = settings_.token;
  options.timeout = timeout;
  options.max_response = max_answer;
  const auto response = http::request(method, *url, body, options);
  if (!response) {
    return failed(response.error(), settings_.coordinator);
  }
  if (response->status < 200 || response->status > 299) {
    return refused(response->status, response->body);
  }
  return response->status == 204 ? json::value(json::object()) : parse_answer(response->body);
}

Outcome<json::value> Api::get(std::string_view path, std::chrono::milliseconds timeout) const {
  return call("GET", path, "", timeout);
}

Outcome<json::value> Api::post(std::string_view path, const json::value& body) const {
  return call("POST", path, json::serialize(body), longest_answer);
}

Outcome<json::value> Api::patch(std::string_view path, const json::value& body) const {
  return call("PATCH", path, json::serialize(body), std::chrono::seconds(30));
}

Outcome<> Api::remove(std::string_view path) const {
  const auto answer = call("DELETE", path, "", std::chrono::seconds(30));
  return answer ? Outcome<>(exit_ok) : give_up(answer.error());
}

Outcome<> Api::download(std::string_view path, const std::filesystem::path& file, std::uint64_t max_bytes) const {
  const auto url = http::Url::parse(settings_.coordinator + std::string(path));
  if (!url) {
    return give_up(exit_failed, "{}", url.error().what);
  }
  http::ClientOptions options;
  options.ca_pem = settings_.ca_pem;
  options.bearer = settings_.token;
  options.timeout = std::chrono::hours(1);
  if (auto done = http::download(*url, file, max_bytes, options); !done) {
    return failed(done.error(), settings_.coordinator);
  }
  return exit_ok;
}

}  // namespace flops::cli
