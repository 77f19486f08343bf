#include "uplink_options.hpp"

#include <utility>

namespace flops::coordinator {
namespace {

// A bare name is looked for there first, then in PATH.
std::filesystem::path program_beside_own(const std::filesystem::path& program) {
  std::error_code error;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / program;
  return !error && !program.has_parent_path() && std::filesystem::exists(beside, error) ? beside : program;
}

}  // namespace

uplink::ManagedUplinkOptions uplink_options(const Config& config, std::string api_url) {
  const std::filesystem::path state = std::filesystem::absolute(config.state_folder);
  uplink::ManagedUplinkOptions options;
  options.program = program_beside_own(config.parent.program);
  options.folder = state / "uplink";
  options.log_level = config.log_level;
  options.device = config.parent.device;
  options.parent_url = config.parent.url;
  options.offline_continue = config.parent.offline_continue;
  options.token_file = config.parent.token_file;
  options.site_url = std::move(api_url);
  options.site_ca = state / "ca.pem";
  options.site_token = state / "admin.token";
  return options;
}

}  // namespace flops::coordinator
