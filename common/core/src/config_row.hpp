// What one row of a configuration does.
#pragma once

#include <toml++/toml.h>

#include "flops/core/config.hpp"

namespace flops {

// What a row does with a node of its file: returns what is wrong, or nothing.
struct ConfigSpec::Row {
  std::string key;
  std::string type;
  std::string default_text;  // as TOML; empty: no default to show
  std::string doc;
  Presence presence = Presence::optional;
  std::function<std::string(const toml::node&, const std::filesystem::path& folder)> read;
  bool free_table = false;                         // keys below are the user's own
  std::function<void(ConfigSpec&)> begin_element;  // array of tables
  bool fill_in = false;                            // the default is no value: the reference shows it as a comment
};

// Text as TOML.
inline std::string toml_text(std::string_view text) {
  return fmt::format("\"{}\"", text);
}

}  // namespace flops
