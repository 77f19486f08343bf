#include "site_api.hpp"

#include "flops/core/file.hpp"
#include "part_json.hpp"

namespace flops::site {
namespace {

constexpr std::size_t max_answer = std::size_t{8} << 20U;
constexpr std::uint64_t slow_link = std::uint64_t{64} << 10U;  // bytes a second

constexpr int too_many = 429;

Result<http::ClientResponse> judged(Result<http::ClientResponse> answer) {
  if (answer && (answer->status >= 500 || answer->status == too_many)) {
    return fail(ErrorKind::transient, "the site's coordinator answers with status {}: {}", answer->status,
                words_of(answer->body));
  }
  return answer;
}

std::chrono::milliseconds patience_for(std::uint64_t bytes) {
  return usual_patience + std::chrono::seconds(bytes / slow_link);
}

}  // namespace

Result<SiteApi::Target> SiteApi::target(const std::string& path, std::chrono::milliseconds patience) const {
  auto url = http::Url::parse(options_.url);
  if (!url) {
    return fail(url.error());
  }
  auto ca = read_file(options_.ca_file);
  auto token = ca ? read_file(options_.token_file) : ca;
  if (!token) {
    return fail(ErrorKind::transient, "{}", token.error().what);
  }
  Target target{*std::move(url), {}};
  target.url.path = path;
  target.options.ca_pem = *std::move(ca);
  target.options.bearer = token->substr(0, token->find_last_not_of(" \t\r\n") + 1);
  target.options.timeout = patience;
  target.options.max_response = max_answer;
  return target;
}

Result<http::ClientResponse> SiteApi::call(std::string_view method, const std::string& path, std::string_view body,
                                           std::chrono::milliseconds patience) const {
  const auto where = target(path, patience);
  return where ? judged(http::request(method, where->url, body, where->options)) : fail(where.error());
}

Result<http::ClientResponse> SiteApi::put(const std::string& path, std::uint64_t bytes,
                                          const http::BodySource& source) const {
  auto where = target(path, patience_for(bytes));
  if (!where) {
    return fail(where.error());
  }
  where->options.content_type = "application/octet-stream";
  return judged(http::upload("PUT", where->url, bytes, source, where->options));
}

Result<http::ClientResponse> SiteApi::get(const std::string& path, std::uint64_t max_bytes,
                                          const http::BodySink& sink) const {
  const auto where = target(path, patience_for(max_bytes));
  return where ? judged(http::fetch(where->url, max_bytes, sink, where->options)) : fail(where.error());
}

Error refusal(std::string_view doing, const http::ClientResponse& answer) {
  return {ErrorKind::permanent,
          fmt::format("the site's coordinator refuses {}: {}: {}", doing, answer.status, words_of(answer.body))};
}

}  // namespace flops::site
