// A real flops-coordinator with its own broker, in a temporary folder on free ports.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>

#include "flops/http/client.hpp"
#include "flops/process/child.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::test {

class CoordinatorProcess {
 public:
  // Started, and ready unless it is `launched` only. `environment`: added to ours; `settings`: more lines of the
  // configuration, with dotted keys.
  explicit CoordinatorProcess(boost::asio::io_context& loop,
                              std::vector<std::pair<std::string, std::string>> environment = {},
                              const std::string& settings = {}, bool launched = false);

  void start();
  void launch();
  void await_ready();
  void kill();               // SIGKILL; the broker dies with it
  [[nodiscard]] int stop();  // SIGTERM; its exit status

  // With the admin's token.
  [[nodiscard]] http::ClientResponse api(const std::string& method, const std::string& path,
                                         const std::string& body = {});
  [[nodiscard]] http::ClientResponse api_with(const std::string& bearer, const std::string& method,
                                              const std::string& path, const std::string& body = {});
  boost::json::value json(const std::string& method, const std::string& path, const std::string& body = {});
  [[nodiscard]] std::string token(int uses = 1);
  [[nodiscard]] std::string site_token(int uses = 1);
  [[nodiscard]] std::filesystem::path state() const { return folder_ / "state"; }
  [[nodiscard]] std::string log() const;
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] boost::asio::io_context& loop() { return loop_; }

 private:
  boost::asio::io_context& loop_;
  const std::vector<std::pair<std::string, std::string>> environment_;
  TemporaryFolder folder_;
  std::unique_ptr<process::Child> child_;
  std::optional<process::Exit> exit_;
  std::string url_;
};

}  // namespace flops::test
