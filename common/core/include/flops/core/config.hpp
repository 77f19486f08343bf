// Configuration files (TOML) as declarative rows: one row a setting, with its key, default, range and
// documentation. Everything that is wrong in a file is reported together, with file and line.
//
//   ConfigSpec spec("flops-agent");
//   spec.text("coordinator.url", config.url, "Address of the coordinator's HTTPS API", Required{});
//   spec.integer("store.cache_mb", config.cache_mb, 16, 1 << 20, "Quota of the blob cache, in MiB");
//   if (auto loaded = spec.load(path); !loaded) { ...print loaded.error(), exit 78 }
//
// A target keeps its value (the default) where the file does not name the key. Unknown keys, wrong types
// and values out of range are errors. Not thread-safe; targets must outlive the spec.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"

namespace flops {

// EX_CONFIG of sysexits.h: what a program exits with when its configuration is wrong.
inline constexpr int exit_bad_configuration = 78;

enum class Presence { optional, required };

class ConfigSpec {
 public:
  // Says what is wrong with a value, or nothing.
  using Check = std::function<std::string(const std::string&)>;

  explicit ConfigSpec(std::string program);
  ~ConfigSpec();
  ConfigSpec(const ConfigSpec&) = delete;
  ConfigSpec& operator=(const ConfigSpec&) = delete;

  void text(std::string key, std::string& target, std::string doc, Presence presence = Presence::optional,
            Check check = {});
  // Relative paths are resolved against the folder of the configuration file.
  void path(std::string key, std::filesystem::path& target, std::string doc, Presence presence = Presence::optional);
  // The same, but a name without a slash stays one: it is looked up in PATH.
  void program(std::string key, std::filesystem::path& target, std::string doc);
  void choice(std::string key, std::string& target, std::vector<std::string> allowed, std::string doc);
  void integer(std::string key, std::int64_t& target, std::int64_t min, std::int64_t max, std::string doc);
  void number(std::string key, double& target, double min, double max, std::string doc);
  void boolean(std::string key, bool& target, std::string doc);
  // "250ms", "30s", "5m", "12h", "7d".
  void duration(std::string key, std::chrono::milliseconds& target, std::chrono::milliseconds min,
                std::chrono::milliseconds max, std::string doc);
  // A list of at most `max_count` texts, each checked.
  void texts(std::string key, std::vector<std::string>& target, std::size_t max_count, std::string doc,
             Check check = {});
  // A table of free keys with text values, as for labels.
  void text_map(std::string key, std::map<std::string, std::string>& target, std::string doc);
  // [[key]]: `begin` makes one element and binds its rows to a spec of its own.
  void tables(std::string key, std::function<void(ConfigSpec&)> begin, std::string doc);

  // permanent: everything that is wrong, one "file:line: message" a line.
  [[nodiscard]] Result<> load(const std::filesystem::path& file);
  // The same for text; `name` stands for the file in messages.
  [[nodiscard]] Result<> parse(std::string_view toml, const std::string& name);
  // One setting afterwards, as on a command line: "training.epochs = 5" or "data.partition=shards:2"; text needs no
  // quotes. Relative paths are resolved against `folder`.
  [[nodiscard]] Result<> set(const std::string& line, const std::filesystem::path& folder);

  // Where the text that was parsed names the key, or the section; 0: it does not, or the key was set afterwards.
  [[nodiscard]] std::size_t line_of(const std::string& key) const;

  // All settings with defaults and documentation, as a commented TOML file.
  [[nodiscard]] std::string reference() const;

 private:
  struct Row;
  struct Reading;
  void add(Row row);
  void read_table(Reading& reading, const void* table, const std::string& prefix);

  std::string program_;
  std::vector<Row> rows_;
  std::map<std::string, std::size_t> lines_;
};

}  // namespace flops
