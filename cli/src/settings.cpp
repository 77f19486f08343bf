#include "settings.hpp"

#include <algorithm>
#include <cstdlib>

#include <sys/stat.h>

#include "flops/core/config.hpp"
#include "flops/core/file.hpp"
#include "flops/http/client.hpp"

namespace flops::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_token_file = 4096;

struct Values {
  std::string coordinator;
  fs::path ca;
  fs::path token_file;
};

std::string check_url(const std::string& text) {
  const auto url = http::Url::parse(text);
  return url ? std::string() : url.error().what;
}

void bind(ConfigSpec& spec, Values& values) {
  spec.text("coordinator", values.coordinator, "Address of the coordinator's HTTPS API, as https://host:port",
            Presence::optional, check_url);
  spec.path("ca", values.ca, "Certificate of the fleet's CA (PEM); the coordinator's <state>/ca.pem");
  spec.path("token_file", values.token_file, "File with the bearer token, e.g. the coordinator's <state>/admin.token");
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

fs::path default_config() {
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".config/flops/flopsctl.toml";
}

Outcome<> read_config(const SettingFlags& flags, Values& values) {
  const std::string named = flags.config.empty() ? environment("FLOPSCTL_CONFIG") : flags.config;
  const fs::path file = named.empty() ? default_config() : fs::path(named);
  std::error_code ignored;
  if (file.empty() || (named.empty() && !fs::exists(file, ignored))) {
    return exit_ok;
  }
  ConfigSpec spec("flopsctl");
  bind(spec, values);
  if (auto loaded = spec.load(file); !loaded) {
    return give_up(exit_configuration, "{}", loaded.error().what);
  }
  return exit_ok;
}

Outcome<std::string> read_token(const fs::path& file) {
  auto content = read_file(file, max_token_file);
  if (!content) {
    return give_up(exit_configuration, "token file: {}", content.error().what);
  }
  struct stat status{};
  if (::stat(file.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    fmt::print(stderr, "flopsctl: warning: {} can be read by others: chmod 600 {}\n", file.string(), file.string());
  }
  const std::size_t begin = content->find_first_not_of(" \t\r\n");
  const std::size_t end = content->find_last_not_of(" \t\r\n");
  std::string token = begin == std::string::npos ? "" : content->substr(begin, end - begin + 1);
  const bool visible = std::ranges::all_of(token, [](char c) { return c > ' ' && c < '\x7F'; });
  if (token.empty() || !visible) {
    return give_up(exit_configuration, "token file {}: expected one token, a single word, in it", file.string());
  }
  return token;
}

std::unexpected<Failure> missing(std::string_view what, std::string_view flag, std::string_view key) {
  return give_up(exit_configuration, "no {} configured: pass {} or write '{} = \"...\"' into {}", what, flag, key,
                 default_config().empty() ? "a file named by --config" : default_config().string());
}

}  // namespace

Outcome<Settings> load_settings(const SettingFlags& flags) {
  Values values;
  if (auto read = read_config(flags, values); !read) {
    return give_up(read.error());
  }
  if (!flags.coordinator.empty()) {
    if (const std::string problem = check_url(flags.coordinator); !problem.empty()) {
      return give_up(exit_usage, "--coordinator: {}", problem);
    }
    values.coordinator = flags.coordinator;
  }
  values.ca = flags.ca.empty() ? values.ca : fs::path(flags.ca);
  values.token_file = flags.token_file.empty() ? values.token_file : fs::path(flags.token_file);
  if (values.coordinator.empty()) {
    return missing("coordinator", "--coordinator URL", "coordinator");
  }
  if (values.ca.empty()) {
    return missing("CA certificate", "--ca FILE", "ca");
  }
  if (values.token_file.empty()) {
    return missing("token", "--token-file FILE", "token_file");
  }
  Settings settings;
  settings.coordinator = values.coordinator.substr(0, values.coordinator.find_last_not_of('/') + 1);
  auto ca = read_file(values.ca);
  if (!ca) {
    return give_up(exit_configuration, "CA certificate: {}", ca.error().what);
  }
  settings.ca_pem = std::move(*ca);
  auto token = read_token(values.token_file);
  if (!token) {
    return give_up(token.error());
  }
  settings.token = std::move(*token);
  return settings;
}

}  // namespace flops::cli
