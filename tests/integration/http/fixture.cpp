#include "fixture.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>

#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/crypto/key.hpp"

namespace flops::http::test {

std::size_t Folder::entries() const {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path()), {}));
}

Identity server_identity(const crypto::CertificateAuthority& ca, crypto::IssueRequest request) {
  const crypto::PrivateKey key = must(crypto::PrivateKey::generate());
  if (request.common_name.empty()) {
    request.common_name = "coordinator";
    request.usage = crypto::Usage::server;
    request.names = {"localhost", "127.0.0.1", "::1"};
  }
  return {must(ca.issue(must(crypto::make_csr(key, "coordinator")), request)), must(key.to_pem())};
}

const crypto::CertificateAuthority& test_ca() {
  static const crypto::CertificateAuthority ca = must(crypto::CertificateAuthority::create("FLOps Edge CA test"));
  return ca;
}

const Identity& test_identity() {
  static const Identity identity = server_identity(test_ca());
  return identity;
}

TestServer::TestServer(ServerOptions options, Identity identity) {
  options.certificate_pem = std::move(identity.certificate);
  options.key_pem = std::move(identity.key);
  server_ = must(Server::start(loop_.get_executor(), std::move(options),
                               [this](const Request& request, const Reply& reply) { handle(request, reply); }));
  port_ = server_->port();
  thread_ = std::thread([this] { loop_.run(); });
}

TestServer::~TestServer() {
  on_loop([this](Server&) {
    server_.reset();
    const std::lock_guard lock(mutex_);
    kept_.clear();
  });
  work_.reset();
  thread_.join();
}

Url TestServer::url(const std::string& path, const std::string& host) const {
  return {.host = host, .port = std::to_string(port_), .path = path};
}

void TestServer::on_loop(const std::function<void(Server&)>& function) {
  std::promise<void> done;
  boost::asio::post(loop_, [&] {
    function(*server_);
    done.set_value();
  });
  done.get_future().wait();
}

bool TestServer::wait_until_kept(std::size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return kept_.size() == count; });
}

void TestServer::release(const std::string& body) {
  on_loop([&](Server&) {
    std::vector<Reply> replies;
    {
      const std::lock_guard lock(mutex_);
      replies.swap(kept_);
    }
    for (const Reply& reply : replies) {
      reply({.content_type = "text/plain", .body = body});
    }
  });
}

int TestServer::handled() {
  const std::lock_guard lock(mutex_);
  return handled_;
}

void TestServer::handle(const Request& request, const Reply& reply) {
  {
    const std::lock_guard lock(mutex_);
    ++handled_;
    if (request.path == "/later") {
      kept_.push_back(reply);
      changed_.notify_all();
      return;
    }
  }
  if (request.path == "/upload") {
    const std::string text = read_file(request.upload, 16U << 20U).value_or("no upload");
    if (request.query.contains("keep")) {
      std::filesystem::rename(request.upload, file);
    }
    return reply({.body = request.bearer + request.body + ":" + text});
  }
  if (request.path == "/file") {
    return reply({.content_type = "application/octet-stream", .file = file});
  }
  if (request.path == "/bytes") {
    return reply({.body = std::string(std::stoul(request.query.at("size")), 'b')});
  }
  if (request.path == "/bad-header") {
    return reply({.headers = {{"X-Name", "a\r\nSet-Cookie: b"}}});
  }
  if (request.path == "/twice") {
    reply({.body = "first"});
    return reply({.body = "second"});
  }
  if (request.path == "/drop") {
    return;
  }
  std::string text =
      request.method + " " + request.path + "\nbearer=" + request.bearer + "\npeer=" + request.peer + "\n";
  for (const auto& [key, value] : request.query) {
    text += key + "=" + value + "\n";
  }
  reply({.status = request.path == "/echo" ? 200 : 404,
         .content_type = "text/plain",
         .body = text + "body=" + request.body,
         .headers = {{"X-Flops", "yes"}}});
}

ClientOptions trusting(const crypto::CertificateAuthority& ca) {
  return {.ca_pem = ca.certificate_pem(), .timeout = kPatience};
}

std::string random_text(std::size_t size) {
  return crypto::random_bytes(size);
}

}  // namespace flops::http::test
