#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include <arpa/inet.h>

#include "flops/http/client.hpp"

namespace flops::http {
namespace {

constexpr std::string_view kScheme = "https://";
constexpr std::size_t kMaxUrl = 8U << 10U;
constexpr std::size_t kMaxHost = 253;

bool is_host_name(std::string_view host) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; };
  return !host.empty() && host.size() <= kMaxHost && std::ranges::all_of(host, allowed);
}

bool is_ipv6(std::string_view host) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, std::string(host).c_str(), &address) == 1;
}

bool is_port(std::string_view port) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  return error == std::errc() && end == port.data() + port.size() && value >= 1 && value <= 65535;
}

// Takes the host off the front of `authority`; what stays is empty or ":port".
Result<std::string> take_host(std::string_view& authority) {
  if (!authority.starts_with('[')) {
    const std::string_view host = authority.substr(0, authority.find(':'));
    authority.remove_prefix(host.size());
    if (!is_host_name(host)) {
      return fail(ErrorKind::permanent, "a URL needs a host name or address after https:// (IPv6 in brackets)");
    }
    return std::string(host);
  }
  const std::size_t bracket = authority.find(']');
  const std::string_view host = bracket == std::string_view::npos ? "" : authority.substr(1, bracket - 1);
  if (!is_ipv6(host)) {
    return fail(ErrorKind::permanent, "a URL has an IPv6 address between its brackets");
  }
  authority.remove_prefix(bracket + 1);
  return std::string(host);
}

}  // namespace

// The messages do not repeat the text: people paste passwords into URLs.
Result<Url> Url::parse(std::string_view text) {
  if (!text.starts_with(kScheme)) {
    return fail(ErrorKind::permanent, "a URL must start with {}", kScheme);
  }
  const auto visible = [](char c) { return c > 0x20 && c < 0x7f && c != '#' && c != '\\'; };
  if (text.size() > kMaxUrl || !std::ranges::all_of(text, visible)) {
    return fail(ErrorKind::permanent, "a URL has at most {} visible ASCII characters, without '#' and '\\'", kMaxUrl);
  }
  text.remove_prefix(kScheme.size());
  std::string_view authority = text.substr(0, text.find_first_of("/?"));
  const std::string_view rest = text.substr(authority.size());
  auto host = take_host(authority);
  if (!host) {
    return fail(host.error());
  }
  Url url{.host = std::move(*host)};
  if (!authority.empty()) {
    if (!authority.starts_with(':') || !is_port(authority.substr(1))) {
      return fail(ErrorKind::permanent, "a URL has a port from 1 to 65535 after the host");
    }
    url.port = authority.substr(1);
  }
  url.path = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  return url;
}

}  // namespace flops::http
