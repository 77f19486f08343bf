#include "raw_client.hpp"

#include <array>
#include <cerrno>
#include <csignal>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fixture.hpp"

namespace flops::http::test {

Fd connect_tcp(std::uint16_t port) {
  std::signal(SIGPIPE, SIG_IGN);
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd.valid());
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  REQUIRE(::connect(fd.get(), generic, sizeof address) == 0);
  return fd;
}

Heard listen_to(const Fd& socket) {
  Heard heard;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t size = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) {
      heard.closed = size == 0 || errno == ECONNRESET;
      return heard;
    }
    heard.text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

RawClient::RawClient(std::uint16_t port, int max_version)
    : socket_(connect_tcp(port)), context_(SSL_CTX_new(TLS_client_method())) {
  REQUIRE(SSL_CTX_set_max_proto_version(context_, max_version) == 1);
  session_ = SSL_new(context_);
  REQUIRE(SSL_set_fd(session_, socket_.get()) == 1);
  connected_ = SSL_connect(session_) == 1;
  if (!connected_) {
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    reason_ = reason != nullptr ? reason : "closed";
    ERR_clear_error();
  }
}

RawClient::~RawClient() {
  SSL_free(session_);
  SSL_CTX_free(context_);
  ERR_clear_error();
}

bool RawClient::send(std::string_view bytes) {
  std::size_t written = 0;
  const bool sent = SSL_write_ex(session_, bytes.data(), bytes.size(), &written) == 1 && written == bytes.size();
  ERR_clear_error();
  return sent;
}

Heard RawClient::read_until(std::string_view end) {
  Heard heard;
  std::array<char, 4096> buffer{};
  while (end.empty() || !contains(heard.text, end)) {
    errno = 0;
    std::size_t size = 0;
    if (SSL_read_ex(session_, buffer.data(), buffer.size(), &size) != 1) {
      heard.closed = errno != EAGAIN && errno != EWOULDBLOCK;
      ERR_clear_error();
      return heard;
    }
    heard.text.append(buffer.data(), size);
  }
  return heard;
}

}  // namespace flops::http::test
