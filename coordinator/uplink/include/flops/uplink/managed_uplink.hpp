// Runs a site's uplink (docs/architecture.md, "The uplink of a site") as a child of the site's coordinator: writes its
// configuration, enrols it with the coordinator above, keeps it running. After an unexpected end it is started again
// with back-off. It ends with the coordinator, however that ends. Loop's thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "flops/core/error.hpp"

namespace flops::uplink {

struct ManagedUplinkOptions {
  std::filesystem::path program;  // flops-agent
  std::filesystem::path folder;   // for agent.toml, agent.log and the agent's state
  std::string log_level = "info";
  std::string device;                 // the site's id above
  std::string parent_url;             // the coordinator above, for the enrolment
  std::filesystem::path token_file;   // an enrolment token of it; only needed once
  std::int64_t offline_continue = 0;  // the agent's offline.continue
  // The site's own coordinator, as the uplink reaches it.
  std::string site_url;
  std::filesystem::path site_ca;
  std::filesystem::path site_token;
  // A site that has no authority yet: the uplink only enrols, with this request, until it is done; then `joined`.
  struct Joining {
    std::filesystem::path authority_request;
    std::filesystem::path authority_certificate;  // written before `joined`
    std::function<void()> joined;
  };
  std::optional<Joining> joining;
};

// The agent's configuration; while joining without the site, which is not there yet.
[[nodiscard]] std::string agent_configuration(const ManagedUplinkOptions& options);

class ManagedUplink {
 public:
  // permanent when the program is missing; resource and permanent when its files cannot be written.
  [[nodiscard]] static Result<std::unique_ptr<ManagedUplink>> start(boost::asio::any_io_executor loop,
                                                                    ManagedUplinkOptions options);
  ~ManagedUplink();
  ManagedUplink(const ManagedUplink&) = delete;
  ManagedUplink& operator=(const ManagedUplink&) = delete;

  [[nodiscard]] int pid() const;                     // -1 while it is down
  [[nodiscard]] const std::string& problem() const;  // why it is down; empty while it runs
  void stop(std::function<void()> done);

 private:
  struct State;
  explicit ManagedUplink(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace flops::uplink
