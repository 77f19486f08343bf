#include "uplink_options.hpp"

#include <utility>

#include "flops/core/program.hpp"

namespace flops::coordinator {
namespace {

// A bare name is looked for in this installation first, then in PATH.
std::filesystem::path installed_program(const std::filesystem::path& program) {
  const auto own = own_folder();
  return own && !program.has_parent_path() ? companion_program(*own, program).value_or(program) : program;
}

}  // namespace

uplink::ManagedUplinkOptions uplink_options(const Config& config, std::string api_url) {
  const std::filesystem::path state = std::filesystem::absolute(config.state_folder);
  uplink::ManagedUplinkOptions options;
  options.program = installed_program(config.parent.program);
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
