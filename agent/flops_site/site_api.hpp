// The HTTPS API of a site's coordinator, as far as parts need it. Calls block; certificate and token are read anew for
// each, so that they may be replaced while a job lasts.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/http/client.hpp"

namespace flops::site {

struct SiteOptions {
  std::string url;  // https://host:port
  std::filesystem::path ca_file;
  std::filesystem::path token_file;  // of role operator
};

inline constexpr std::chrono::milliseconds usual_patience{10'000};

class SiteApi {
 public:
  explicit SiteApi(SiteOptions options) : options_(std::move(options)) {}

  // Any status but 429 and 5xx, which are transient with the coordinator's words. Other errors: those of http::request;
  // transient as well when the certificate or the token cannot be read (the coordinator may be about to make them).
  [[nodiscard]] Result<http::ClientResponse> call(std::string_view method, const std::string& path,
                                                  std::string_view body = {},
                                                  std::chrono::milliseconds patience = usual_patience) const;
  // The same with a body that is read, or an answer that is taken, piece by piece. Both take the time they need for
  // their bytes over a slow link.
  [[nodiscard]] Result<http::ClientResponse> put(const std::string& path, std::uint64_t bytes,
                                                 const http::BodySource& source) const;
  [[nodiscard]] Result<http::ClientResponse> get(const std::string& path, std::uint64_t max_bytes,
                                                 const http::BodySink& sink) const;

 private:
  struct Target {
    http::Url url;
    http::ClientOptions options;
  };
  [[nodiscard]] Result<Target> target(const std::string& path, std::chrono::milliseconds patience) const;
  const SiteOptions options_;
};

// What the coordinator refuses, with its words: "the site's coordinator refuses PUT /v1/models/...: 413: ...".
[[nodiscard]] Error refusal(std::string_view doing, const http::ClientResponse& answer);

}  // namespace flops::site
