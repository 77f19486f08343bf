// token, status and cluster.
#include <charconv>

#include <unistd.h>

#include "commands.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"
#include "output.hpp"

namespace flops::cli {

namespace {

// "90s", "30m", "24h", "7d" in seconds; nothing when it is none of these.
std::optional<std::int64_t> parse_seconds(std::string_view text) {
  std::int64_t value = 0;
  const char* const first = text.data();
  const char* const last = first + text.size();
  const auto [end, error] = std::from_chars(first, last, value);
  if (error != std::errc() || last - end != 1) {
    return std::nullopt;
  }
  const std::int64_t unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86'400 : 0;
  std::int64_t seconds = 0;
  if (unit == 0 || value < 1 || __builtin_mul_overflow(value, unit, &seconds)) {
    return std::nullopt;
  }
  return seconds;
}

Outcome<> show_answer(const Context& context, const std::string& path, std::string (*view)(const boost::json::value&)) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->get(path);
  return answer ? show(context, *answer, view) : give_up(answer.error());
}

}  // namespace

Outcome<> create_token(const Context& context, const TokenOptions& options) {
  const auto seconds = parse_seconds(options.expires);
  if (!seconds) {
    return give_up(exit_usage, "--expires '{}': expected a duration such as 90s, 30m, 24h or 7d", options.expires);
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->post("/v1/tokens", {{"uses", options.uses},
                                               {"expires_seconds", *seconds},
                                               {"note", options.note},
                                               {"role", options.site ? "cluster" : "device"},
                                               {"approve", options.approve},
                                               {"device", options.device}});
  if (!answer) {
    return give_up(answer.error());
  }
  if (context.format == Format::json) {
    return print_json(*answer);
  }
  const auto token = report::text_field(*answer, "token");
  if (!token) {
    return give_up(exit_failed, "the coordinator's answer has no token in it");
  }
  if (::isatty(STDERR_FILENO) != 0) {
    fmt::print(stderr, "Shown only this once. Good for {} {}(s) until {}. {}\n",
               report::integer_field(*answer, "uses").value_or(options.uses), options.site ? "site" : "device",
               report::printable(report::text_field(*answer, "expires_at").value_or("-")),
               options.site ? "At the site, into the file that its coordinator's configuration names as "
                              "parent.token_file."
                            : "On the device:\n  flops-agent enroll --coordinator URL --token "
                              "TOKEN");
  }
  return print(report::printable(*token) + "\n");
}

Outcome<> list_tokens(const Context& context) {
  return show_answer(context, "/v1/tokens", report::tokens_table);
}

Outcome<> show_status(const Context& context) {
  return show_answer(context, "/v1/status", report::status_details);
}

Outcome<> list_clusters(const Context& context) {
  return show_answer(context, "/v1/clusters", report::clusters_table);
}

Outcome<> show_cluster(const Context& context, const std::string& id) {
  const auto checked = check_id(id);
  return checked ? show_answer(context, "/v1/clusters/" + id, report::cluster_details) : checked;
}

}  // namespace flops::cli
