// A real Mosquitto on a free loopback port: TLS 1.3 only, client certificates, identity = the certificate's CN, an ACL
// per device, nothing dropped from queues. Its files live in a temporary folder; the process ends with the object.
//
// The ACL knows one fleet, "test": a device reaches its own topics under flops/v1/test/devices/<id>/, reads status,
// runs and blobs; "coordinator" reaches everything.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "flops/crypto/certificate.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::test {

// What one party needs to connect.
struct Identity {
  std::filesystem::path ca;
  std::filesystem::path certificate;
  std::filesystem::path key;
};

struct BrokerOptions {
  std::string tls_version = "tlsv1.3";
  std::vector<std::string> server_names = {"localhost", "127.0.0.1"};
};

class Broker {
 public:
  explicit Broker(BrokerOptions options = {});  // starts it and waits until it accepts; ends the process when it cannot
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // A certificate of the fleet's CA for `name`, valid from `backdate` ago for `lifetime`.
  [[nodiscard]] Identity identity(const std::string& name, std::chrono::seconds lifetime = std::chrono::hours(1),
                                  std::chrono::seconds backdate = std::chrono::minutes(5));
  // A certificate of another CA that calls itself the same; it trusts the right one.
  [[nodiscard]] Identity foreign_identity(const std::string& name);
  // A server's certificate with its chain, of an authority under the fleet's.
  [[nodiscard]] Identity site_identity(const std::string& site);
  // The broker's own, for a server in its place.
  [[nodiscard]] const Identity& server_identity() const { return server_; }
  [[nodiscard]] const std::filesystem::path& ca_file() const { return ca_file_; }

  void stop();    // SIGTERM and waits
  void kill();    // SIGKILL and waits
  void start();   // again, on the same port
  void freeze();  // SIGSTOP: the connection stays and nothing answers
  void thaw();
  [[nodiscard]] std::string log() const;

 private:
  [[nodiscard]] Identity issue(const crypto::CertificateAuthority& authority, const std::string& name,
                               crypto::IssueRequest request);

  TemporaryFolder folder_;
  crypto::CertificateAuthority authority_;
  std::filesystem::path ca_file_;
  Identity server_;
  std::uint16_t port_ = 0;
  pid_t process_ = -1;
  int issued_ = 0;
};

}  // namespace flops::test
