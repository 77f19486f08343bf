// The coordinator's HTTPS API with answers that a test chooses; real TLS, a real port, its own thread.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "flops/http/server.hpp"
#include "flops/test/temporary_folder.hpp"
#include "program.hpp"

namespace flops::cli_test {

class FakeCoordinator {
 public:
  FakeCoordinator();
  ~FakeCoordinator();
  FakeCoordinator(const FakeCoordinator&) = delete;
  FakeCoordinator& operator=(const FakeCoordinator&) = delete;

  // The next answer to "GET /v1/runs"; the last one of a path is given again and again. Status 0: never answers.
  void answer(const std::string& request, int status, const std::string& body);
  void answer_file(const std::string& request, const std::filesystem::path& file);
  [[nodiscard]] std::vector<http::Request> requests();

  [[nodiscard]] std::filesystem::path folder() const { return folder_.path(); }
  // The arguments, and those that point to this coordinator.
  [[nodiscard]] std::vector<std::string> arguments(std::vector<std::string> command) const;
  [[nodiscard]] Ended run(const std::vector<std::string>& command) const { return cli_test::run(arguments(command)); }

 private:
  void handle(const http::Request& request, const http::Reply& reply);

  test::TemporaryFolder folder_;
  std::mutex mutex_;
  std::map<std::string, std::deque<http::Response>> answers_;
  std::vector<http::Request> requests_;
  std::vector<http::Reply> unanswered_;
  boost::asio::io_context loop_;
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

}  // namespace flops::cli_test
