#include <memory>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/enrolment_token.hpp"
#include "flops/test/wait.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("enrolment: only a good token makes a device, and its name stays its own") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  Device impostor(coordinator, "a");
  Device b(coordinator, "b");
  const std::string once = coordinator.token();
  CHECK(a.enrol(once).status == 200);
  auto used = b.enrol(once);
  CHECK(used.status == 403);
  CHECK(used.body.find("token_used") != std::string::npos);
  auto taken = impostor.enrol(coordinator.token());
  CHECK(taken.status == 409);
  CHECK(taken.body.find("device_exists") != std::string::npos);
  CHECK(a.enrol(coordinator.token()).status == 200);  // the same key again
  CHECK(coordinator.json("GET", "/v1/devices").at("devices").as_array().size() == 1);

  const auto unknown = crypto::EnrolmentToken::generate(Digest()).text();
  CHECK(b.enrol(unknown).body.find("token_unknown") != std::string::npos);
  CHECK(b.enrol("nonsense").status == 403);
  CHECK(b.enrol(coordinator.token(), "coordinator").status == 400);
  CHECK(b.enrol(coordinator.token(), "UPPER").status == 400);
  CHECK(coordinator.api_with("", "POST", "/v1/enrol", "{").status == 400);
  CHECK(coordinator.api_with("", "POST", "/v1/enrol", std::string(20'000, ' ')).status == 413);
  CHECK(coordinator.json("GET", "/v1/devices").at("devices").as_array().size() == 1);
}

namespace {

boost::json::object application(const std::string& token, const std::string& name, const crypto::PrivateKey& key) {
  return {{"v", 1}, {"token", token}, {"device", name}, {"csr", crypto::make_csr(key, name).value()}};
}

// A certificate for `key` with a subject of the attacker's choice, signed with the key of an authority: of a CA, or of
// a client. It does not say which key of its issuer signed it.
std::string forged(bool ca, const crypto::PrivateKey& key, const std::string& subject, const std::string& issuer_pem,
                   const crypto::PrivateKey& issuer_key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(
      BIO_new_mem_buf(issuer_pem.data(), static_cast<int>(issuer_pem.size())), &BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> issuer(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr),
                                                           &X509_free);
  const std::unique_ptr<X509, decltype(&X509_free)> made(X509_new(), &X509_free);
  REQUIRE(issuer);
  X509_NAME* name = X509_get_subject_name(made.get());
  REQUIRE(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(subject.c_str()),
                                     -1, -1, 0) == 1);
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 7);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 86'400);
  X509_set_issuer_name(made.get(), X509_get_subject_name(issuer.get()));
  X509_set_pubkey(made.get(), key.native());
  for (const auto& [nid, value] :
       {std::pair(NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE"),
        std::pair(NID_key_usage, ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature")}) {
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, nid, value), &X509_EXTENSION_free);
    REQUIRE(X509_add_ext(made.get(), extension.get(), -1) == 1);
  }
  REQUIRE(X509_sign(made.get(), issuer_key.native(), EVP_sha256()) > 0);
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
  REQUIRE(PEM_write_bio_X509(out.get(), made.get()) == 1);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace

TEST_CASE("enrolment: a site's token makes a site, with an authority of its own; a device's makes none") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const auto key = crypto::PrivateKey::generate().value();
  const auto authority_key = crypto::PrivateKey::generate().value();
  const auto ask = [&](const std::string& token, const std::string& authority_csr) {
    auto body = application(token, "hall-3", key);
    body["authority_csr"] = authority_csr;
    return coordinator.api_with("", "POST", "/v1/enrol", boost::json::serialize(body));
  };
  const std::string csr = crypto::make_csr(authority_key, "hall-3").value();

  const std::string token = coordinator.token();
  const auto refused = ask(token, csr);
  CHECK(refused.status == 403);
  CHECK(refused.body.find("token_role") != std::string::npos);
  CHECK(Device(coordinator, "a").enrol(token).status == 200);  // it has lost no use
  CHECK(coordinator.json("GET", "/v1/devices/a").at("role") == "device");

  CHECK(ask(coordinator.site_token(), "hello").body.find("bad_csr") != std::string::npos);
  const auto answer = ask(coordinator.site_token(), csr);
  REQUIRE_MESSAGE(answer.status == 200, answer.body);
  const std::string certificate(boost::json::parse(answer.body).at("authority").as_string());
  const auto authority = crypto::CertificateAuthority::load(certificate, authority_key.to_pem().value());
  REQUIRE(authority.has_value());
  CHECK(authority->trust_pem() != authority->certificate_pem());
  CHECK(coordinator.json("GET", "/v1/devices/hall-3").at("role") == "cluster");
  CHECK(crypto::read_certificate(certificate)->common_name.starts_with("hall-3 "));

  auto says_device = application(coordinator.site_token(), "b", key);
  says_device["role"] = "device";
  CHECK(coordinator.api_with("", "POST", "/v1/enrol", boost::json::serialize(says_device)).body.find("token_role") !=
        std::string::npos);
  says_device["role"] = 7;
  CHECK(coordinator.api_with("", "POST", "/v1/enrol", boost::json::serialize(says_device)).status == 400);

  CHECK(coordinator.api("POST", "/v1/tokens", R"({"role":"king"})").status == 400);
  const auto tokens = coordinator.json("GET", "/v1/tokens").at("tokens").as_array();
  REQUIRE(tokens.size() == 4);
  CHECK(tokens.at(0).at("role") == "cluster");
  CHECK(tokens.at(3).at("role") == "device");
}

TEST_CASE("enrolment: who says to be a site and is enrolled as a device gets no work, nor the other way round") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device boaster(coordinator, "boaster");
  boaster.role(wire::Role::cluster);
  boaster.join(coordinator.token());
  Device modest(coordinator, "modest");
  modest.join(coordinator.site_token());
  for (const char* spec : {R"({"model":"m","data":"digits","min_fit":1})",
                           R"({"model":"m","data":"digits","min_fit":1,"clusters":"sites"})"}) {
    const auto run = coordinator.json("POST", "/v1/runs", spec);
    const std::string path = "/v1/runs/" + std::string(run.at("id").as_string());
    REQUIRE(run_until(loop, [&] { return !coordinator.json("GET", path).at("reason").as_string().empty(); }));
    CHECK_FALSE(boaster.has("task"));
    CHECK_FALSE(modest.has("task"));
    REQUIRE(coordinator.api("POST", path + "/stop").status == 200);
  }
  CHECK(coordinator.log().find("boaster says that it is a site, but is enrolled as a device") != std::string::npos);
  CHECK(coordinator.log().find("modest says that it is a device, but is enrolled as a site") != std::string::npos);
}

TEST_CASE("enrolment: what a site's authority has issued opens nothing of the fleet's") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device victim(coordinator, "victim");
  victim.join(coordinator.token());

  const auto key = crypto::PrivateKey::generate().value();
  const auto authority_key = crypto::PrivateKey::generate().value();
  auto body = application(coordinator.site_token(), "hall-3", key);
  body["authority_csr"] = crypto::make_csr(authority_key, "hall-3").value();
  const auto answer = coordinator.api_with("", "POST", "/v1/enrol", boost::json::serialize(body));
  REQUIRE_MESSAGE(answer.status == 200, answer.body);
  const std::string certificate(boost::json::parse(answer.body).at("authority").as_string());

  // Of a further authority, which calls itself by the fleet's: revocation lists are found by such things.
  const auto root_name = crypto::read_certificate(read_file(coordinator.state() / "ca.pem").value())->common_name;
  const auto further_key = crypto::PrivateKey::generate().value();
  const std::string further = forged(true, further_key, root_name, certificate, authority_key);
  struct Theft {
    const char* name;
    const crypto::PrivateKey& issuer_key;
    std::string chain;  // of the issuer
  };
  const std::vector<Theft> thefts{
      {"victim", authority_key, certificate},
      {"coordinator", authority_key, certificate},
      {"coordinator", further_key, further + certificate},
  };
  TemporaryFolder folder;
  for (const auto& [name, issuer_key, chain] : thefts) {
    CAPTURE(name);
    CAPTURE(chain.size());
    const auto stolen = crypto::PrivateKey::generate().value();
    REQUIRE(replace_file(folder / "certificate.pem", forged(false, stolen, name, chain, issuer_key) + chain));
    REQUIRE(replace_file(folder / "key.pem", stolen.to_pem().value(), 0600));
    mqtt::Options options = victim.options();
    options.client_id = name;
    options.certificate_file = folder / "certificate.pem";
    options.key_file = folder / "key.pem";
    options.will.reset();
    std::optional<Error> refusal;
    bool let_in = false;
    mqtt::Handlers handlers;
    handlers.connected = [&](bool) { let_in = true; };
    handlers.connect_failed = [&](const Error& error) { refusal = error; };
    auto client = mqtt::Client::create(loop.get_executor(), std::move(options), std::move(handlers));
    REQUIRE(client.has_value());
    (*client)->connect();
    REQUIRE(run_until(loop, [&] { return let_in || refusal; }));
    CHECK_FALSE(let_in);
    REQUIRE(refusal);
    CHECK_MESSAGE(refusal->kind == ErrorKind::denied, refusal->what);
  }
  CHECK(coordinator.json("GET", "/v1/devices/victim").at("online").as_bool());
}

TEST_CASE("devices: the API shows why a device does not train, and what is wrong with it") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  a.join(coordinator.token());
  wire::DeviceState state;
  state.online = true;
  state.session = "s";
  state.activity = "training";
  state.paused = "temperature 81 C is above 80 C";
  state.health = {{"storage", "database or disk is full"}};
  REQUIRE(a.publish("flops/v1/test/devices/a/state", wire::encode(state)).has_value());
  CHECK(run_until(coordinator.loop(),
                  [&] { return coordinator.json("GET", "/v1/devices/a").at("paused").as_string() == state.paused; }));
  const boost::json::value shown = coordinator.json("GET", "/v1/devices/a");
  REQUIRE(shown.at("health").as_array().size() == 1);
  CHECK(shown.at("health").at(0).at("name").as_string() == "storage");
  CHECK(shown.at("health").at(0).at("text").as_string() == "database or disk is full");
}

TEST_CASE("enrolment: the broker lets a device reach its own topics and nothing else") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const std::string token = coordinator.token(2);
  Device a(coordinator, "a");
  Device b(coordinator, "b");
  join_all({&a, &b}, token);
  for (const char* topic : {"flops/v1/test/devices/b/up/hello", "flops/v1/test/devices/b/state", "flops/v1/test/status",
                            "flops/v1/test/devices/a/cmd/task", "flops/v1/test/runs/run-1/status", "elsewhere"}) {
    CAPTURE(topic);
    const auto published = a.publish(topic, "x");
    REQUIRE_FALSE(published.has_value());
    CHECK(published.error().kind == ErrorKind::denied);
  }
}

TEST_CASE("api: every request needs a token that the coordinator knows") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  for (const char* path : {"/v1/devices", "/v1/runs", "/v1/models", "/v1/tokens", "/v1/runs/run-1"}) {
    CAPTURE(path);
    CHECK(coordinator.api_with("", "GET", path).status == 401);
    CHECK(coordinator.api_with("wrong", "GET", path).status == 401);
  }
  CHECK(coordinator.api_with("", "GET", "/livez").status == 200);
  CHECK(coordinator.api("GET", "/v1/nothing").status == 404);
  CHECK(coordinator.api("DELETE", "/v1/runs").status == 405);
  CHECK(coordinator.api("GET", "/v1/models/" + std::string(64, 'a')).status == 404);
  CHECK(coordinator.api("GET", "/v1/models/../ca.key").status != 200);
  CHECK(coordinator.api("POST", "/v1/runs", R"({"model":1})").status == 400);
  CHECK(coordinator.api("POST", "/v1/tokens", R"({"uses":0})").status == 400);
}
