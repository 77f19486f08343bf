#include "old_tls_server.hpp"

#include <memory>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

namespace flops::test {

OldTlsServer::OldTlsServer(const Identity& identity) : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
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

OldTlsServer::~OldTlsServer() {
  stopping_ = true;
  thread_.join();
}

void OldTlsServer::serve(const Identity& identity) {
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
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
    if (SSL_accept(ssl.get()) == 1) {
      ++handshakes_;
    }
  }
}

}  // namespace flops::test
