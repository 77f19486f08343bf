#include "raw_server.hpp"

#include <array>
#include <csignal>

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include "flops/crypto/key.hpp"

namespace flops::http::test {

RawServer::RawServer(std::string answer) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  std::signal(SIGPIPE, SIG_IGN);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = static_cast<sockaddr*>(static_cast<void*>(&address));
  socklen_t size = sizeof address;
  REQUIRE(::bind(listener_.get(), generic, size) == 0);
  REQUIRE(::getsockname(listener_.get(), generic, &size) == 0);
  REQUIRE(::listen(listener_.get(), 1) == 0);
  port_ = ntohs(address.sin_port);
  const Identity& identity = test_identity();  // made on this thread
  REQUIRE(!identity.key.empty());
  thread_ = std::thread([this, text = std::move(answer)] { serve(text); });
}

void RawServer::serve(const std::string& answer) {
  pollfd waiting{.fd = listener_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) != 1) {
    return;
  }
  const Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(peer.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  const auto& pem = test_identity().certificate;
  BIO* reader = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* certificate = PEM_read_bio_X509(reader, nullptr, nullptr, nullptr);
  const auto key = crypto::PrivateKey::from_pem(test_identity().key);
  SSL_CTX_use_certificate(context, certificate);
  SSL_CTX_use_PrivateKey(context, key ? key->native() : nullptr);
  SSL* session = SSL_new(context);
  SSL_set_fd(session, peer.get());
  std::array<char, 4096> buffer{};
  std::size_t size = 0;
  if (SSL_accept(session) == 1 && SSL_read_ex(session, buffer.data(), buffer.size(), &size) == 1) {
    // A client that has heard enough hangs up: writing may fail.
    SSL_write_ex(session, answer.data(), answer.size(), &size);
    SSL_shutdown(session);
  }
  ERR_clear_error();
  SSL_free(session);
  X509_free(certificate);
  BIO_free(reader);
  SSL_CTX_free(context);
}

}  // namespace flops::http::test
