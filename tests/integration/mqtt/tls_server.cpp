#include "tls_server.hpp"

#include <memory>
#include <utility>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

namespace flops::test {

TlsServer::TlsServer(const Identity& identity, TlsServerOptions options)
    : options_(std::move(options)), listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listening_.get(), generic, size) == 0);
  REQUIRE(::getsockname(listening_.get(), generic, &size) == 0);
  REQUIRE(::listen(listening_.get(), 4) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this, identity] { serve(identity); });
}

TlsServer::~TlsServer() {
  stopping_ = true;
  thread_.join();
}

void TlsServer::converse(SSL* ssl) const {
  char heard[1024];
  std::size_t answered = 0;
  while (!options_.answers.empty()) {
    pollfd entry{SSL_get_fd(ssl), POLLIN, 0};
    if (stopping_) {
      return;
    }
    if (SSL_pending(ssl) == 0 && ::poll(&entry, 1, 20) <= 0) {
      continue;
    }
    if (SSL_read(ssl, heard, sizeof heard) <= 0) {
      return;
    }
    if (answered < options_.answers.size()) {
      const std::string& answer = options_.answers[answered++];
      if (!answer.empty()) {
        SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
      }
    }
  }
}

void TlsServer::note_name(const SSL* ssl) {
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const std::lock_guard lock(mutex_);
  names_.emplace_back(name == nullptr ? "" : name);
}

void TlsServer::serve(const Identity& identity) {
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  SSL_CTX_set_max_proto_version(context.get(), options_.old ? TLS1_2_VERSION : TLS1_3_VERSION);
  SSL_CTX_use_certificate_chain_file(context.get(), identity.certificate.c_str());
  SSL_CTX_use_PrivateKey_file(context.get(), identity.key.c_str(), SSL_FILETYPE_PEM);
  while (!stopping_) {
    pollfd entry{listening_.get(), POLLIN, 0};
    if (::poll(&entry, 1, 20) <= 0) {
      continue;
    }
    const Fd connection(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), &SSL_free);
    SSL_set_fd(ssl.get(), connection.get());
    const bool accepted = SSL_accept(ssl.get()) == 1;
    note_name(ssl.get());
    if (accepted) {
      ++handshakes_;
      converse(ssl.get());
    }
  }
}

}  // namespace flops::test
