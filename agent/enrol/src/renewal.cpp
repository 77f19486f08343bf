// New certificates for the key there is.
#include <boost/json.hpp>

#include "answers.hpp"
#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/file.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/key.hpp"
#include "identity.hpp"

namespace flops::agent {

Result<std::string> renewal_request(const Identity& identity) {
  auto pem = read_file(identity.key_file, max_identity_file);
  auto key = pem ? crypto::PrivateKey::from_pem(*pem) : Result<crypto::PrivateKey>(fail(pem.error()));
  auto csr = key ? crypto::make_csr(*key, identity.device.str()) : Result<std::string>(fail(key.error()));
  return csr ? csr : fail(csr.error(), identity.key_file.string());
}

Result<> accept_certificate(const Identity& identity, const std::string& certificate_pem) {
  auto before_pem = read_file(identity.certificate_file, max_identity_file);
  auto ca = before_pem ? read_file(identity.ca_file, max_identity_file) : before_pem;
  auto before = ca ? crypto::read_certificate(*before_pem) : Result<crypto::CertificateInfo>(fail(ca.error()));
  if (!before) {
    return fail(before.error(), "the certificate there is");
  }
  auto info = crypto::read_certificate(certificate_pem);
  if (!info) {
    return fail(ErrorKind::denied, "the new certificate: {}", info.error().what);
  }
  if (info->common_name != identity.device.str() || info->public_key_digest != before->public_key_digest) {
    return fail(ErrorKind::denied, "the new certificate is for another device, or another key");
  }
  if (!crypto::issued_by(certificate_pem, *ca)) {
    return fail(ErrorKind::denied, "the new certificate is not from the fleet's CA");
  }
  if (info->not_after < before->not_after) {
    return fail(ErrorKind::denied, "the new certificate ends before the one there is");
  }
  return replace_file(identity.certificate_file, certificate_pem, 0644);
}

Result<> renew_expired(const Identity& identity) {
  auto url = http::Url::parse(identity.coordinator);
  auto csr = url ? renewal_request(identity) : Result<std::string>(fail(url.error()));
  auto ca = csr ? read_file(identity.ca_file, max_identity_file) : csr;
  if (!ca) {
    return fail(ca.error());
  }
  http::ClientOptions options;
  options.ca_pem = *std::move(ca);
  options.max_response = max_answer;
  const boost::json::object body{{"v", protocol_version}, {"device", identity.device.str()}, {"csr", *csr}};
  auto answer = http::request("POST", with_path(*url, "/v1/renew"), boost::json::serialize(body), options);
  if (!answer) {
    return fail(answer.error(), "renewing the certificate");
  }
  if (answer->status != 200) {
    return fail(refusal(*answer, "to renew the certificate"));
  }
  auto object = parse_json_object(answer->body);
  const auto* certificate = object ? object->if_contains("certificate") : nullptr;
  if (certificate == nullptr || !certificate->is_string()) {
    return fail(ErrorKind::corrupt, "the coordinator's answer has no certificate");
  }
  return accept_certificate(identity, std::string(certificate->get_string()));
}

}  // namespace flops::agent
