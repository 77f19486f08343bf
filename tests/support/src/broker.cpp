#include "flops/test/broker.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/key.hpp"
#include "flops/test/wait.hpp"

namespace flops::test {
namespace {

constexpr std::string_view program = "/usr/sbin/mosquitto";

// A test without its broker cannot say anything.
template <class T>
T need(Result<T> result, std::string_view doing) {
  if (!result) {
    std::fprintf(stderr, "test broker: %s: %s\n", std::string(doing).c_str(), result.error().what.c_str());
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// None that outgoing connections get: it might be taken before the broker listens.
std::uint16_t free_port() {
  std::random_device random;
  std::uniform_int_distribution<int> ports(10'240, 32'767);
  for (int attempt = 0; attempt < 64; ++attempt) {
    const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(static_cast<std::uint16_t>(ports(random)));
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      return ntohs(address.sin_port);
    }
  }
  std::abort();
}

bool accepts(std::uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

constexpr std::string_view acl = R"(user coordinator
topic readwrite #
pattern write flops/v1/test/devices/%u/state
pattern write flops/v1/test/devices/%u/up/#
pattern write flops/v1/test/devices/%u/blob/#
pattern read flops/v1/test/devices/%u/cmd/#
pattern read flops/v1/test/status
pattern read flops/v1/test/runs/#
pattern read flops/v1/test/blobs/#
)";

// max_queued_messages is large and not 0 ("no limit"): Mosquitto 2.0 compares with it after a denied publish without
// that exception, and so cuts off a client that should only have got its PUBACK.
std::string configuration(const std::filesystem::path& folder, std::uint16_t port, const std::string& tls_version,
                          const Identity& server) {
  return fmt::format(
      "per_listener_settings false\nlistener {} 127.0.0.1\nallow_anonymous false\nacl_file {}\n"
      "cafile {}\ncertfile {}\nkeyfile {}\ntls_version {}\nrequire_certificate true\nuse_identity_as_username true\n"
      "use_username_as_clientid true\nmax_queued_messages 1000000000\nmax_inflight_messages 100\nmax_packet_size "
      "4194304\n"
      "persistence false\nlog_dest file {}\nlog_type all\nset_tcp_nodelay true\n{}",
      port, (folder / "acl").string(), server.ca.string(), server.certificate.string(), server.key.string(),
      tls_version, (folder / "log").string(), ::geteuid() == 0 ? "user root\n" : "");
}

}  // namespace

Broker::Broker(BrokerOptions options)
    : authority_(need(crypto::CertificateAuthority::create("test fleet"), "making a CA")),
      ca_file_(folder_ / "ca.pem"),
      port_(free_port()) {
  need(replace_file(ca_file_, authority_.certificate_pem()), "writing the CA");
  crypto::IssueRequest request;
  request.usage = crypto::Usage::server;
  request.names = options.server_names;
  server_ = issue(authority_, "broker", std::move(request));
  // Mosquitto wants its ACL not readable by others.
  need(replace_file(folder_ / "acl", acl, 0600), "writing the ACL");
  need(replace_file(folder_ / "mosquitto.conf", configuration(folder_.path(), port_, options.tls_version, server_)),
       "writing the configuration");
  start();
}

Broker::~Broker() {
  if (process_ > 0) {
    thaw();
    stop();
  }
}

Identity Broker::issue(const crypto::CertificateAuthority& authority, const std::string& name,
                       crypto::IssueRequest request) {
  request.common_name = name;
  const std::string prefix = fmt::format("{}-{}", name, ++issued_);
  const auto key = need(crypto::PrivateKey::generate(), "making a key");
  const auto csr = need(crypto::make_csr(key, name), "making a request");
  Identity identity{ca_file_, folder_ / (prefix + ".crt"), folder_ / (prefix + ".key")};
  need(replace_file(identity.certificate, need(authority.issue(csr, request), "issuing")), "writing a certificate");
  need(replace_file(identity.key, need(key.to_pem(), "writing a key"), 0600), "writing a key");
  return identity;
}

Identity Broker::identity(const std::string& name, std::chrono::seconds lifetime, std::chrono::seconds backdate) {
  crypto::IssueRequest request;
  request.lifetime = lifetime;
  request.backdate = backdate;
  return issue(authority_, name, std::move(request));
}

Identity Broker::foreign_identity(const std::string& name) {
  const auto other = need(crypto::CertificateAuthority::create("test fleet"), "making another CA");
  return issue(other, name, {});
}

Identity Broker::site_identity(const std::string& site) {
  const auto key = need(crypto::PrivateKey::generate(), "making a key");
  const auto csr = need(crypto::make_csr(key, site), "making a request");
  const auto authority =
      need(crypto::CertificateAuthority::load(need(authority_.issue_authority(csr, site), "issuing an authority"),
                                              need(key.to_pem(), "writing a key")),
           "loading an authority");
  crypto::IssueRequest request;
  request.usage = crypto::Usage::server;
  request.names = {"localhost", "127.0.0.1"};
  Identity identity = issue(authority, "broker", std::move(request));
  const std::string leaf = need(read_file(identity.certificate), "reading a certificate");
  need(replace_file(identity.certificate, leaf + authority.certificate_pem()), "writing a chain");
  return identity;
}

void Broker::start() {
  const std::string config = (folder_ / "mosquitto.conf").string();
  process_ = ::fork();
  if (process_ == 0) {
    // Whatever happens to the test, the broker does not outlive it.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::execl(program.data(), program.data(), "-c", config.c_str(), nullptr);
    ::_exit(127);
  }
  const bool up = wait_until([&] { return accepts(port_) || ::waitpid(process_, nullptr, WNOHANG) != 0; });
  if (!up || !accepts(port_)) {
    std::fprintf(stderr, "test broker: %s did not start:\n%s\n", program.data(), log().c_str());
    std::abort();
  }
}

void Broker::stop() {
  ::kill(process_, SIGTERM);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

void Broker::kill() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

void Broker::freeze() {
  ::kill(process_, SIGSTOP);
}
void Broker::thaw() {
  ::kill(process_, SIGCONT);
}

std::string Broker::log() const {
  return read_file(folder_ / "log", 16U << 20U).value_or("(no log)");
}

}  // namespace flops::test
