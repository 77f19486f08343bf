#include "fake_coordinator.hpp"

#include <fstream>

#include <doctest/doctest.h>
#include <boost/asio/post.hpp>

#include "flops/crypto/certificate.hpp"
#include "flops/crypto/key.hpp"

namespace flops::cli_test {

FakeCoordinator::FakeCoordinator() {
  const auto authority = crypto::CertificateAuthority::create("test fleet");
  const auto key = crypto::PrivateKey::generate();
  REQUIRE(authority);
  REQUIRE(key);
  const auto csr = crypto::make_csr(*key, "coordinator");
  REQUIRE(csr);
  crypto::IssueRequest request;
  request.common_name = "coordinator";
  request.usage = crypto::Usage::server;
  request.names = {"127.0.0.1"};
  const auto certificate = authority->issue(*csr, request);
  const auto key_pem = key->to_pem();
  REQUIRE(certificate);
  REQUIRE(key_pem);

  http::ServerOptions options;
  options.certificate_pem = *certificate;
  options.key_pem = *key_pem;
  auto server = http::Server::start(loop_.get_executor(), options,
                                    [this](const http::Request& got, const http::Reply& reply) { handle(got, reply); });
  REQUIRE(server);
  server_ = std::move(*server);

  std::ofstream(folder_ / "ca.pem") << authority->certificate_pem();
  std::ofstream(folder_ / "token") << "secret-token\n";
  std::filesystem::permissions(folder_ / "token", std::filesystem::perms(0600));
  std::ofstream(folder_ / "flopsctl.toml")
      << "coordinator = \"https://127.0.0.1:" << server_->port() << "/\"\nca = \"ca.pem\"\ntoken_file = \"token\"\n";
  thread_ = std::thread([this] {
    const auto work = boost::asio::make_work_guard(loop_);
    loop_.run();
  });
}

FakeCoordinator::~FakeCoordinator() {
  boost::asio::post(loop_, [this] {
    server_->stop();
    unanswered_.clear();
    loop_.stop();
  });
  thread_.join();
}

void FakeCoordinator::answer(const std::string& request, int status, const std::string& body) {
  http::Response response;
  response.status = status;
  response.body = body;
  const std::scoped_lock lock(mutex_);
  answers_[request].push_back(response);
}

void FakeCoordinator::answer_file(const std::string& request, const std::filesystem::path& file) {
  http::Response response;
  response.content_type = "application/octet-stream";
  response.file = file;
  const std::scoped_lock lock(mutex_);
  answers_[request].push_back(response);
}

std::vector<http::Request> FakeCoordinator::requests() {
  const std::scoped_lock lock(mutex_);
  return requests_;
}

std::vector<std::string> FakeCoordinator::arguments(std::vector<std::string> command) const {
  command.insert(command.end(), {"--config", (folder_ / "flopsctl.toml").string()});
  return command;
}

void FakeCoordinator::handle(const http::Request& request, const http::Reply& reply) {
  const std::scoped_lock lock(mutex_);
  requests_.push_back(request);
  auto& waiting = answers_[request.method + " " + request.path];
  if (waiting.empty()) {
    http::Response response;
    response.status = 404;
    response.body = R"({"error": {"code": "not_found", "message": "no such thing"}})";
    reply(response);
    return;
  }
  const http::Response response = waiting.front();
  if (waiting.size() > 1) {
    waiting.pop_front();
  }
  if (response.status == 0) {
    unanswered_.push_back(reply);
  } else {
    reply(response);
  }
}

}  // namespace flops::cli_test
