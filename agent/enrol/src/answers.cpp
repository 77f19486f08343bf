#include "answers.hpp"

#include <boost/json.hpp>

#include "identity.hpp"

namespace flops::agent {

http::Url with_path(http::Url url, std::string path) {
  url.path = std::move(path);
  return url;
}

Error refusal(const http::ClientResponse& answer, std::string_view what) {
  std::string code = fmt::format("HTTP status {}", answer.status);
  std::string message;
  if (auto object = parse_json_object(answer.body)) {
    if (const auto* error = object->if_contains("error"); error != nullptr && error->is_object()) {
      const auto& fields = error->get_object();
      if (const auto* value = fields.if_contains("code"); value != nullptr && value->is_string()) {
        code = value->get_string();
      }
      if (const auto* value = fields.if_contains("message"); value != nullptr && value->is_string()) {
        message = value->get_string();
      }
    }
  }
  const bool denied = answer.status == 403 || answer.status == 409;
  const ErrorKind kind = denied                 ? ErrorKind::denied
                         : answer.status >= 500 ? ErrorKind::transient
                                                : ErrorKind::permanent;
  return {kind, fmt::format("the coordinator refused {}: {}{}{}", what, code, message.empty() ? "" : ": ", message)};
}

}  // namespace flops::agent
