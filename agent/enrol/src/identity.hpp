// The identity's files and their JSON.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/error.hpp"

namespace flops::agent {

inline constexpr std::size_t max_identity_file = std::size_t{64} * 1024;

struct IdentityFiles {
  explicit IdentityFiles(const std::filesystem::path& state_folder);
  std::filesystem::path folder;
  std::filesystem::path key;
  std::filesystem::path next_key;  // while a device enrols with a new one
  std::filesystem::path certificate;
  std::filesystem::path ca;
  std::filesystem::path enrolment;
};

// corrupt when it is none, or nested deeper than 8.
[[nodiscard]] Result<boost::json::object> parse_json_object(std::string_view text);
// The fields that the coordinator's answer and enrolment.json share. corrupt: which field, and why.
[[nodiscard]] Result<Identity> read_enrolment(const boost::json::object& object, const IdentityFiles& files);
[[nodiscard]] std::string write_enrolment(const Identity& identity);

}  // namespace flops::agent
