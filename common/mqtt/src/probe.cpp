#include "probe.hpp"

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "credentials.hpp"
#include "flops/core/fd.hpp"

namespace flops::mqtt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds handshake_limit{4};
// A broker that does not like our certificate says so after the handshake, in TLS 1.3; one that does says nothing.
constexpr std::chrono::milliseconds objection_limit{1000};
constexpr int slice_ms = 50;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using Ssl = std::unique_ptr<SSL, SslFree>;

class Probe {
 public:
  Probe(const Options& options, const Addresses& addresses, const std::function<bool()>& stop)
      : options_(options),
        addresses_(addresses),
        stop_(stop),
        where_(fmt::format("{}:{}", options.host, options.port)) {}

  // Success: nobody objects.
  [[nodiscard]] Result<> run() {
    auto context = make_context(options_);
    if (!context) {
      return fail(context.error());
    }
    if (auto reached = reach(); !reached) {
      return reached;
    }
    const Ssl ssl(SSL_new(context->get()));
    if (!ssl || SSL_set_fd(ssl.get(), fd_.get()) != 1) {
      return fail(ErrorKind::transient, "TLS cannot be set up: {}", take_tls_errors());
    }
    return handshake(ssl.get());
  }

  [[nodiscard]] Error why_not() {
    const auto looked = run();
    return looked ? Error{ErrorKind::transient, fmt::format("{} ended the connection before accepting it", where_)}
                  : looked.error();
  }

 private:
  // TCP, to the first address that answers.
  [[nodiscard]] Result<> reach() {
    int code = 0;
    deadline_ = Clock::now() + handshake_limit;
    for (const addrinfo* at = addresses_.get(); at != nullptr; at = at->ai_next) {
      fd_ = Fd(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol));
      code = ::connect(fd_.get(), at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
      if (code == EINPROGRESS) {
        code = wait(POLLOUT) ? pending_error() : ETIMEDOUT;
      }
      if (code == 0) {
        return {};
      }
    }
    return fail(ErrorKind::transient, "{}", errno_error(code, "connecting to " + where_).what);
  }

  [[nodiscard]] int pending_error() const {
    int code = 0;
    socklen_t size = sizeof code;
    return ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno;
  }

  // False: not before the deadline.
  [[nodiscard]] bool wait(short events) const {
    while (Clock::now() < deadline_ && !stop_()) {
      pollfd entry{fd_.get(), events, 0};
      if (::poll(&entry, 1, slice_ms) > 0) {
        return true;
      }
    }
    return false;
  }

  // Waits for what the last call on `ssl` wants; false when it wants nothing or the time is over.
  [[nodiscard]] bool may_go_on(SSL* ssl, int returned) const {
    switch (SSL_get_error(ssl, returned)) {
      case SSL_ERROR_WANT_READ: return wait(POLLIN);
      case SSL_ERROR_WANT_WRITE: return wait(POLLOUT);
      default: return false;
    }
  }

  [[nodiscard]] Result<> handshake(SSL* ssl) {
    int returned = 0;
    do {
      returned = SSL_connect(ssl);
    } while (returned != 1 && may_go_on(ssl, returned));
    if (returned == 1) {
      deadline_ = Clock::now() + objection_limit;
      char byte = 0;
      do {
        returned = SSL_read(ssl, &byte, 1);
      } while (returned != 1 && may_go_on(ssl, returned));
      if (SSL_get_error(ssl, returned) == SSL_ERROR_WANT_READ) {
        return {};
      }
    }
    return fail(explain(SSL_get_verify_result(ssl), ssl));
  }

  [[nodiscard]] Error explain(long verified, SSL* ssl) const {
    const std::string tls = take_tls_errors();
    if (verified != X509_V_OK) {
      // OpenSSL looks at the times of a certificate after its signature: its issuer is ours.
      const bool times = verified == X509_V_ERR_CERT_NOT_YET_VALID || verified == X509_V_ERR_CERT_HAS_EXPIRED;
      const auto clock = check_clock(options_, times ? SSL_get0_peer_certificate(ssl) : nullptr);
      return {times && clock.clock_is_wrong() ? ErrorKind::clock : ErrorKind::denied,
              fmt::format("the certificate of {} is not accepted: {}; {}", where_,
                          X509_verify_cert_error_string(verified), clock.text)};
    }
    if (tls.find("alert") != std::string::npos) {
      const auto clock = check_clock(options_, nullptr);
      return {clock.clock_is_wrong() ? ErrorKind::clock : ErrorKind::denied,
              fmt::format("{} refuses this device: {}; {}", where_, tls, clock.text)};
    }
    return {ErrorKind::transient,
            fmt::format("{} ended the connection before accepting it{}{}", where_, tls.empty() ? "" : ": ", tls)};
  }

  const Options& options_;
  const Addresses& addresses_;
  const std::function<bool()>& stop_;
  const std::string where_;
  Fd fd_;
  Clock::time_point deadline_;
};

}  // namespace

Error find_reason(const Options& options, const Addresses& addresses, const std::function<bool()>& stop) {
  return Probe(options, addresses, stop).why_not();
}

Result<> examine(const Options& options) {
  const auto addresses = resolve(options);
  if (!addresses) {
    return fail(addresses.error());
  }
  const std::function<bool()> never = [] { return false; };
  return Probe(options, *addresses, never).run();
}

}  // namespace flops::mqtt
