// The coordinator's HTTPS API, as the harness needs it. Every call ends within seconds; it blocks the loop meanwhile.
#pragma once

#include <filesystem>
#include <string>

#include <boost/json/object.hpp>

#include "flops/core/error.hpp"
#include "flops/http/client.hpp"

namespace flops::faults {

class CoordinatorApi {
 public:
  // From what the coordinator wrote into its state folder: endpoints.json, ca.pem, admin.token.
  [[nodiscard]] static Result<CoordinatorApi> of(const std::filesystem::path& state);

  [[nodiscard]] const std::string& address() const { return address_; }
  // transient while it is down or not ready; permanent when it refuses.
  [[nodiscard]] Result<boost::json::object> get(const std::string& path) const;
  [[nodiscard]] Result<boost::json::object> post(const std::string& path, const boost::json::object& body) const;

 private:
  [[nodiscard]] Result<boost::json::object> ask(std::string_view method, const std::string& path,
                                                const std::string& body) const;
  std::string address_;
  http::ClientOptions options_;
};

}  // namespace flops::faults
