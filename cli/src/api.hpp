// The coordinator's HTTPS API (docs/protocol.md), with its answers turned into outcomes.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "outcome.hpp"
#include "settings.hpp"

namespace flops::cli {

class Api {
 public:
  explicit Api(Settings settings) : settings_(std::move(settings)) {}

  // An object. exit_not_found: 404. exit_denied: 401, 403, or a certificate that is not trusted. exit_unreachable: no
  // connection, or the coordinator is not ready (502, 503, 504). exit_failed: everything else, with its message.
  [[nodiscard]] Outcome<boost::json::value> get(std::string_view path,
                                                std::chrono::milliseconds timeout = std::chrono::seconds(30)) const;
  [[nodiscard]] Outcome<boost::json::value> post(std::string_view path, const boost::json::value& body) const;
  [[nodiscard]] Outcome<boost::json::value> patch(std::string_view path, const boost::json::value& body) const;
  [[nodiscard]] Outcome<> remove(std::string_view path) const;
  [[nodiscard]] Outcome<> download(std::string_view path, const std::filesystem::path& file,
                                   std::uint64_t max_bytes) const;

 private:
  [[nodiscard]] Outcome<boost::json::value> call(std::string_view method, std::string_view path, std::string_view body,
                                                 std::chrono::milliseconds timeout) const;

  Settings settings_;
};

}  // namespace flops::cli
