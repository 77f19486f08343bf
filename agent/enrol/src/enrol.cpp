#include "flops/agent_enrol/enrol.hpp"

#include <boost/json.hpp>

#include "answers.hpp"
#include "flops/core/file.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/enrolment_token.hpp"
#include "flops/crypto/key.hpp"
#include "flops/http/client.hpp"
#include "identity.hpp"

namespace flops::agent {
namespace {

constexpr std::size_t max_request_file = std::size_t{8} * 1024;
constexpr std::size_t max_key_file = std::size_t{16} * 1024;

// The CA the token vouches for.
Result<std::string> fetch_ca(const http::Url& url, const Digest& expected) {
  http::ClientOptions options;
  options.verify = false;
  options.max_response = max_answer;
  auto answer = http::request("GET", with_path(url, "/v1/ca"), "", options);
  if (!answer) {
    return fail(answer.error(), "fetching the fleet's CA");
  }
  if (answer->status != 200) {
    return fail(ErrorKind::permanent, "fetching the fleet's CA: HTTP status {}; is this the coordinator's API?",
                answer->status);
  }
  auto info = crypto::read_certificate(answer->body);
  if (!info) {
    return fail(info.error(), "the fleet's CA");
  }
  if (info->fingerprint != expected) {
    return fail(ErrorKind::denied,
                "the CA of {} is not the one in the token (found {}, expected {}): another fleet's token, or "
                "somebody stands between",
                url.host, info->fingerprint.short_hex(), expected.short_hex());
  }
  return std::move(answer->body);
}

// The key is kept from the first attempt on: an answer lost on the way is then asked for again with the same key.
Result<crypto::PrivateKey> load_or_make_key(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    auto pem = read_file(file, max_key_file);
    return pem ? crypto::PrivateKey::from_pem(*pem) : Result<crypto::PrivateKey>(fail(pem.error()));
  }
  auto key = crypto::PrivateKey::generate();
  if (!key) {
    return key;
  }
  auto pem = key->to_pem();
  if (!pem) {
    return fail(pem.error());
  }
  if (auto written = replace_file(file, *pem, 0600); !written) {
    return fail(written.error());
  }
  return key;
}

struct Answer {
  Identity identity;
  std::string certificate_pem;
  std::string ca_pem;
  std::string authority_pem;  // empty: none was given
};

// What is asked for.
struct Application {
  DeviceId device;
  std::string token;
  std::string csr;
  std::string authority_csr;  // empty: no authority is asked for
  bool site = false;
};

Result<Answer> read_answer(const std::string& body, const IdentityFiles& files) {
  auto object = parse_json_object(body);
  if (!object) {
    return fail(object.error(), "the coordinator's answer");
  }
  auto identity = read_enrolment(*object, files);
  if (!identity) {
    return fail(identity.error(), "the coordinator's answer");
  }
  const auto* certificate = object->if_contains("certificate");
  const auto* ca = object->if_contains("ca");
  if (certificate == nullptr || !certificate->is_string() || ca == nullptr || !ca->is_string()) {
    return fail(ErrorKind::corrupt, "the coordinator's answer: 'certificate' and 'ca' must be PEM text");
  }
  const auto* authority = object->if_contains("authority");
  return Answer{*std::move(identity), std::string(certificate->get_string()), std::string(ca->get_string()),
                authority != nullptr && authority->is_string() ? std::string(authority->get_string()) : ""};
}

Result<> check_authority(const Answer& answer, const std::string& csr) {
  if (answer.authority_pem.empty()) {
    return fail(ErrorKind::denied, "the coordinator gave this site no authority; is it of an older version?");
  }
  auto certificate = crypto::read_certificate(answer.authority_pem);
  auto request = crypto::read_csr(csr);
  if (!certificate || !request) {
    return fail(certificate ? request.error() : certificate.error(), "the coordinator's answer: 'authority'");
  }
  if (!certificate->is_ca || certificate->public_key_digest != request->public_key_digest) {
    return fail(ErrorKind::denied, "the coordinator's answer: 'authority' is {}",
                certificate->is_ca ? "for another key" : "not the certificate of a CA");
  }
  return {};
}

// Nothing is written before the answer is known to be for this device, this key and this fleet.
Result<> check_answer(const Answer& answer, const Application& application, const Digest& ca_fingerprint) {
  auto certificate = crypto::read_certificate(answer.certificate_pem);
  auto ca = crypto::read_certificate(answer.ca_pem);
  auto request = crypto::read_csr(application.csr);
  if (!certificate || !ca || !request) {
    return fail(!certificate ? certificate.error() : (!ca ? ca.error() : request.error()), "the coordinator's answer");
  }
  if (ca->fingerprint != ca_fingerprint) {
    return fail(ErrorKind::denied, "the coordinator's answer names another CA than the token");
  }
  if (answer.identity.device != application.device || certificate->common_name != application.device.str()) {
    return fail(ErrorKind::denied, "the coordinator's answer is for device '{}', not '{}'", certificate->common_name,
                application.device);
  }
  if (certificate->public_key_digest != request->public_key_digest) {
    return fail(ErrorKind::denied, "the coordinator's certificate is for another key");
  }
  return application.authority_csr.empty() ? Result<>() : check_authority(answer, application.authority_csr);
}

Result<> write_identity(const IdentityFiles& files, const Answer& answer) {
  // enrolment.json last: where it stands, the rest is complete.
  for (const auto& [file, content] :
       {std::pair{files.ca, answer.ca_pem}, std::pair{files.certificate, answer.certificate_pem},
        std::pair{files.enrolment, write_enrolment(answer.identity)}}) {
    if (auto written = replace_file(file, content, 0644); !written) {
      return written;
    }
  }
  return {};
}

Result<Answer> ask(const http::Url& url, const Application& application, const std::string& ca_pem,
                   const IdentityFiles& files) {
  boost::json::object body{{"v", protocol_version},
                           {"token", application.token},
                           {"device", application.device.str()},
                           {"csr", application.csr},
                           {"role", application.site ? "cluster" : "device"}};
  if (!application.authority_csr.empty()) {
    body["authority_csr"] = application.authority_csr;
  }
  http::ClientOptions options;
  options.ca_pem = ca_pem;
  options.max_response = max_answer;
  auto answer = http::request("POST", with_path(url, "/v1/enrol"), boost::json::serialize(body), options);
  if (!answer) {
    return fail(answer.error(), "enrolling");
  }
  if (answer->status == 202) {
    return fail(
        ErrorKind::resource,
        "the coordinator knows this device now, and waits until somebody approves it: flopsctl device approve {}",
        application.device);
  }
  if (answer->status != 200) {
    return fail(refusal(*answer, "the enrolment"));
  }
  return read_answer(answer->body, files);
}

}  // namespace

Result<Identity> enrol(const std::filesystem::path& state_folder, const Applicant& applicant,
                       const std::string& coordinator_url, const std::string& token_text) {
  const IdentityFiles files(state_folder);
  const auto& [device, site, authority, new_key] = applicant;
  auto url = http::Url::parse(coordinator_url);
  auto token = crypto::EnrolmentToken::parse(token_text);
  if (!url || !token) {
    return fail(url ? token.error() : url.error());
  }
  auto authority_csr = authority ? read_file(authority->request, max_request_file) : Result<std::string>("");
  if (auto checked = authority && authority_csr ? crypto::read_csr(*authority_csr) : Result<crypto::Csr>();
      !authority_csr || !checked) {
    return fail(authority_csr ? checked.error() : authority_csr.error(), "the authority's request");
  }
  auto ca = fetch_ca(*url, token->ca_fingerprint);
  if (!ca) {
    return fail(ca.error());
  }
  for (const auto& folder : {state_folder, files.folder}) {
    if (auto made = make_folder(folder, 0700); !made) {
      return fail(made.error());
    }
  }
  // The key there is serves the device until the new one is enrolled.
  const std::filesystem::path key_file = new_key ? files.next_key : files.key;
  auto key = load_or_make_key(key_file);
  auto csr = key ? crypto::make_csr(*key, device.str()) : Result<std::string>(fail(key.error()));
  if (!csr) {
    return fail(csr.error(), key_file.string());
  }
  const Application application{device, token_text, *std::move(csr), *std::move(authority_csr), site};
  auto answer = ask(*url, application, *ca, files);
  if (!answer) {
    return fail(answer.error());
  }
  answer->identity.coordinator = coordinator_url;
  if (auto checked = check_answer(*answer, application, token->ca_fingerprint); !checked) {
    return fail(checked.error());
  }
  // Before enrolment.json: an enrolled site has its authority.
  if (auto written = authority ? replace_file(authority->certificate, answer->authority_pem, 0644) : Result<>();
      !written) {
    return fail(written.error(), "the authority's certificate");
  }
  std::error_code renamed;
  if (new_key) {
    std::filesystem::rename(files.next_key, files.key, renamed);
  }
  if (auto written = renamed ? fail(ErrorKind::permanent, "{}: {}", files.key.string(), renamed.message())
                             : write_identity(files, *answer);
      !written) {
    return fail(written.error());
  }
  return std::move(answer->identity);
}

}  // namespace flops::agent
