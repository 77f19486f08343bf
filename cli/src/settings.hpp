// Which coordinator, and how to prove who we are: flags first, then flopsctl.toml.
#pragma once

#include <filesystem>
#include <string>

#include "outcome.hpp"

namespace flops::cli {

struct SettingFlags {
  std::string coordinator;
  std::string ca;
  std::string token_file;
  std::string config;
};

struct Settings {
  std::string coordinator;  // "https://host:port", without a slash at the end
  std::string ca_pem;
  std::string token;
};

// exit_configuration: a file that is named is missing or wrong, or a setting is nowhere to be found. exit_usage: a flag
// with a malformed address.
[[nodiscard]] Outcome<Settings> load_settings(const SettingFlags& flags);

}  // namespace flops::cli
