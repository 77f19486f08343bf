// A real server on loopback with certificates of its own CA, on a loop thread that ends with it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <doctest/doctest.h>

#include "flops/core/error.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/http/client.hpp"
#include "flops/http/server.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::http::test {

constexpr std::chrono::seconds kPatience{30};

template <class T>
T must(Result<T> result) {
  INFO((result ? std::string() : result.error().what));
  REQUIRE(result.has_value());
  return std::move(*result);
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

struct Folder : flops::test::TemporaryFolder {
  [[nodiscard]] std::size_t entries() const;
};

struct Identity {
  std::string certificate;
  std::string key;
};
[[nodiscard]] Identity server_identity(const crypto::CertificateAuthority& ca, crypto::IssueRequest request = {});
// Keys cost time under sanitizers: one CA and one identity for all tests.
[[nodiscard]] const crypto::CertificateAuthority& test_ca();
[[nodiscard]] const Identity& test_identity();

// Paths the server knows:
//   /echo   what it understood of the request, one line a field     /file   the file `file`
//   /bytes  `size` bytes                                            /later  kept until release()
//   /drop   the reply is dropped                                    /bad-header  a header that smuggles another one
//   /twice  replies twice
//   /upload the content of the upload, which `keep` renames to `file`
class TestServer {
 public:
  explicit TestServer(ServerOptions options = {}, Identity identity = test_identity());
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] Url url(const std::string& path, const std::string& host = "127.0.0.1") const;
  // Runs on the loop's thread and waits.
  void on_loop(const std::function<void(Server&)>& function);
  // True when `count` replies are being kept; waits for it.
  [[nodiscard]] bool wait_until_kept(std::size_t count);
  void release(const std::string& body);
  [[nodiscard]] int handled();

  std::filesystem::path file;

 private:
  void handle(const Request& request, const Reply& reply);

  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Reply> kept_;
  int handled_ = 0;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

[[nodiscard]] ClientOptions trusting(const crypto::CertificateAuthority& ca = test_ca());
[[nodiscard]] std::string random_text(std::size_t size);

}  // namespace flops::http::test
