// Names of devices, runs, tasks and fleets as types of their own, so that one is never passed for another.
//
// Grammar of all of them: [a-z0-9][a-z0-9._-]{0,63}. They stand in MQTT topics, file names, certificate
// subjects and URLs, so no other character is ever allowed.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops {

inline constexpr std::size_t max_id_length = 64;

[[nodiscard]] bool is_valid_id(std::string_view text);

template <class Tag>
class Id {
 public:
  Id() = default;  // empty: "none"

  // permanent if `text` breaks the grammar.
  [[nodiscard]] static Result<Id> parse(std::string_view text) {
    if (!is_valid_id(text)) {
      return fail(ErrorKind::permanent, "'{}' is not a valid {} id: use a-z, 0-9, '.', '_', '-', at most {}",
                  text.substr(0, max_id_length), Tag::name, max_id_length);
    }
    Id id;
    id.text_ = text;
    return id;
  }

  [[nodiscard]] const std::string& str() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  std::string text_;
};

struct DeviceTag {
  static constexpr std::string_view name = "device";
};
struct RunTag {
  static constexpr std::string_view name = "run";
};
struct TaskTag {
  static constexpr std::string_view name = "task";
};
struct FleetTag {
  static constexpr std::string_view name = "fleet";
};

using DeviceId = Id<DeviceTag>;
using RunId = Id<RunTag>;
using TaskId = Id<TaskTag>;
using FleetId = Id<FleetTag>;

}  // namespace flops

template <class Tag>
struct std::hash<flops::Id<Tag>> {
  std::size_t operator()(const flops::Id<Tag>& id) const { return std::hash<std::string>{}(id.str()); }
};

template <class Tag>
struct fmt::formatter<flops::Id<Tag>> : fmt::formatter<std::string_view> {
  auto format(const flops::Id<Tag>& id, format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(id.str(), ctx);
  }
};
