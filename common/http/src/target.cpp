#include "target.hpp"

#include <algorithm>
#include <utility>

namespace flops::http {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

Result<std::string> percent_decoded(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return fail(ErrorKind::permanent, "the target has a '%' that two hexadecimal digits do not follow");
      }
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') {
      return fail(ErrorKind::permanent, "the target contains a NUL");
    }
    decoded.push_back(c);
  }
  return decoded;
}

// On the decoded text: an escaped slash or dot counts like a plain one.
Result<> check_path(std::string_view path) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::ranges::any_of(path, control)) {
    return fail(ErrorKind::permanent, "the path contains a control character");
  }
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment == "..") {
      return fail(ErrorKind::permanent, "the path contains a '..' segment");
    }
    path.remove_prefix(segment.size());
  }
  return {};
}

Result<> add_parameter(std::map<std::string, std::string>& query, std::string_view parameter) {
  const std::size_t equals = parameter.find('=');
  auto key = percent_decoded(parameter.substr(0, equals), true);
  if (!key) {
    return fail(key.error());
  }
  auto value = percent_decoded(equals == std::string_view::npos ? "" : parameter.substr(equals + 1), true);
  if (!value) {
    return fail(value.error());
  }
  if (!query.emplace(std::move(*key), std::move(*value)).second) {
    return fail(ErrorKind::permanent, "the query gives the same key twice");
  }
  return {};
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  if (!text.starts_with('/') || text.find('#') != std::string_view::npos) {
    return fail(ErrorKind::permanent, "the target must be a path, like /v1/runs?limit=3");
  }
  const std::size_t question = text.find('?');
  auto path = percent_decoded(text.substr(0, question), false);
  if (!path) {
    return fail(path.error());
  }
  if (auto checked = check_path(*path); !checked) {
    return fail(checked.error());
  }
  Target target{std::move(*path), {}};
  std::string_view rest = question == std::string_view::npos ? std::string_view() : text.substr(question + 1);
  while (!rest.empty()) {
    const std::string_view parameter = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), parameter.size() + 1));
    if (parameter.empty()) {
      continue;
    }
    if (auto added = add_parameter(target.query, parameter); !added) {
      return fail(added.error());
    }
  }
  return target;
}

}  // namespace flops::http
