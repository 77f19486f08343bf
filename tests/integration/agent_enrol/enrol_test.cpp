// Enrolment against a real HTTPS server that plays the coordinator.
#include <doctest/doctest.h>

#include <thread>

#include <sys/stat.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/enrolment_token.hpp"
#include "flops/http/server.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::agent;
namespace json = boost::json;

namespace {

constexpr std::string_view host = "localhost";

// What the coordinator answers to POST /v1/enrol; a test changes it.
using Answer = std::function<http::Response(const json::object& request, const std::string& certificate)>;

class FakeCoordinator {
 public:
  FakeCoordinator() : authority_(*crypto::CertificateAuthority::create("fleet")) {
    auto key = crypto::PrivateKey::generate();
    crypto::IssueRequest request;
    request.common_name = "coordinator";
    request.usage = crypto::Usage::server;
    request.names = {std::string(host), "127.0.0.1"};
    http::ServerOptions options;
    options.certificate_pem = *authority_.issue(*crypto::make_csr(*key, "coordinator"), request);
    options.key_pem = *key->to_pem();
    auto server = http::Server::start(loop_.get_executor(), options,
                                      [this](const http::Request& asked, http::Reply reply) { reply(handle(asked)); });
    REQUIRE_MESSAGE(server.has_value(), (server ? "" : server.error().what));
    server_ = *std::move(server);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~FakeCoordinator() {
    boost::asio::post(loop_, [this] {
      server_->stop();
      loop_.stop();
    });
    thread_.join();
  }

  [[nodiscard]] std::string url() const { return fmt::format("https://{}:{}", host, server_->port()); }
  [[nodiscard]] std::string token() const { return crypto::EnrolmentToken::generate(authority_.fingerprint()).text(); }
  [[nodiscard]] const crypto::CertificateAuthority& authority() const { return authority_; }
  // Only between requests.
  void answer_with(Answer answer) { answer_ = std::move(answer); }
  void serve_ca(std::string pem) { ca_ = std::move(pem); }

  [[nodiscard]] json::object good(const json::object& request, const std::string& certificate) const {
    return {{"v", 1},
            {"device", request.at("device")},
            {"fleet", "test"},
            {"certificate", certificate},
            {"ca", authority_.certificate_pem()},
            {"broker", {{"host", "broker.local"}, {"port", 8883}}}};
  }

 private:
  http::Response handle(const http::Request& asked) {
    if (asked.method == "GET" && asked.path == "/v1/ca") {
      return {200, "application/x-pem-file", ca_.empty() ? authority_.certificate_pem() : ca_, {}, {}};
    }
    if (asked.method != "POST" || asked.path != "/v1/enrol") {
      return {404, "application/json", "{}", {}, {}};
    }
    const json::object request = json::parse(asked.body).as_object();
    crypto::IssueRequest issue;
    issue.common_name = std::string(request.at("device").as_string());
    const auto certificate = authority_.issue(std::string(request.at("csr").as_string()), issue);
    if (answer_) {
      return answer_(request, *certificate);
    }
    return {200, "application/json", json::serialize(good(request, *certificate)), {}, {}};
  }

  crypto::CertificateAuthority authority_;
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{loop_.get_executor()};
  std::unique_ptr<http::Server> server_;
  std::string ca_;
  Answer answer_;
  std::thread thread_;
};

const DeviceId device = *DeviceId::parse("pi-1");

unsigned mode_of(const std::filesystem::path& file) {
  struct stat info{};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  return info.st_mode & 0777U;
}

http::Response with_body(const json::object& body, int status = 200) {
  return {status, "application/json", json::serialize(body), {}, {}};
}

}  // namespace

TEST_CASE("enrolment: a device gets an identity that it can load again, and keeps its key to itself") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  const auto state = folder / "state";
  CHECK_FALSE(is_enrolled(state));
  CHECK(load_identity(state).error().kind == ErrorKind::permanent);
  const auto enrolled = enrol(state, {device}, coordinator.url(), coordinator.token());
  REQUIRE_MESSAGE(enrolled.has_value(), (enrolled ? "" : enrolled.error().what));
  CHECK(is_enrolled(state));
  const auto identity = load_identity(state);
  REQUIRE(identity.has_value());
  CHECK(identity->device == device);
  CHECK(identity->fleet.str() == "test");
  CHECK(identity->broker_host == "broker.local");
  CHECK(identity->broker_port == 8883);
  CHECK(identity->coordinator == coordinator.url());
  CHECK(mode_of(identity->key_file) == 0600);
  CHECK(mode_of(state / "identity") == 0700);
  const auto life = certificate_life(*identity);
  REQUIRE(life.has_value());
  CHECK(life->not_before < life->not_after);
  CHECK(read_file(identity->ca_file).value() == coordinator.authority().certificate_pem());
}

TEST_CASE("enrolment: after a lost answer the same key asks again") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  coordinator.answer_with([](const json::object&, const std::string&) { return with_body({}, 503); });
  const auto lost = enrol(folder.path(), {device}, coordinator.url(), coordinator.token());
  REQUIRE_FALSE(lost.has_value());
  CHECK(lost.error().kind == ErrorKind::transient);
  CHECK_FALSE(is_enrolled(folder.path()));
  const std::string key = read_file(folder / "identity/key.pem").value();
  coordinator.answer_with({});
  REQUIRE(enrol(folder.path(), {device}, coordinator.url(), coordinator.token()).has_value());
  CHECK(read_file(folder / "identity/key.pem").value() == key);
}

TEST_CASE("enrolment: another CA than the token's is refused before anything secret is sent or stored") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  const auto other = crypto::CertificateAuthority::create("fleet");
  REQUIRE(other.has_value());
  SUBCASE("the token is of another fleet") {
    const auto token = crypto::EnrolmentToken::generate(other->fingerprint()).text();
    const auto refused = enrol(folder.path(), {device}, coordinator.url(), token);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::denied);
    CHECK(refused.error().what.find("not the one in the token") != std::string::npos);
  }
  SUBCASE("somebody stands between and shows the right CA") {
    // The CA can be copied, its key cannot: the server's own certificate does not verify.
    coordinator.serve_ca(other->certificate_pem());
    const auto refused = enrol(folder.path(), {device}, coordinator.url(),
                               crypto::EnrolmentToken::generate(other->fingerprint()).text());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::denied);
  }
  CHECK_FALSE(is_enrolled(folder.path()));
}

TEST_CASE("enrolment: the coordinator's refusal is told with its reason") {
  struct Row {
    int status;
    const char* code;
    ErrorKind kind;
  };
  for (const Row& row : {Row{403, "token_unknown", ErrorKind::denied}, Row{403, "token_used", ErrorKind::denied},
                         Row{403, "token_expired", ErrorKind::denied}, Row{409, "device_exists", ErrorKind::denied},
                         Row{400, "bad_csr", ErrorKind::permanent}}) {
    const test::TemporaryFolder folder;
    FakeCoordinator coordinator;
    coordinator.answer_with([&row](const json::object&, const std::string&) {
      return with_body({{"error", {{"code", row.code}, {"message", "because"}}}}, row.status);
    });
    const auto refused = enrol(folder.path(), {device}, coordinator.url(), coordinator.token());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == row.kind);
    CHECK(refused.error().what.find(fmt::format("{}: because", row.code)) != std::string::npos);
  }
}

TEST_CASE("enrolment: an answer that is not for this device and key is refused and nothing is kept") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  Answer answer;
  const auto change = [&](const char* field, json::value value) {
    answer = [&coordinator, field, value = std::move(value)](const json::object& request, const std::string& pem) {
      json::object body = coordinator.good(request, pem);
      body[field] = value;
      return with_body(body);
    };
  };
  SUBCASE("not JSON") {
    answer = [](const json::object&, const std::string&) { return http::Response{200, "text/html", "<p>", {}, {}}; };
  }
  SUBCASE("another device") {
    change("device", "pi-2");
  }
  SUBCASE("no fleet") {
    change("fleet", nullptr);
  }
  SUBCASE("a fleet that is no id") {
    change("fleet", "../x");
  }
  SUBCASE("a host that is none") {
    change("broker", {{"host", "a b"}, {"port", 1}});
  }
  SUBCASE("a port that is none") {
    change("broker", {{"host", "a"}, {"port", 70000}});
  }
  SUBCASE("no certificate") {
    change("certificate", "-----BEGIN");
  }
  SUBCASE("another CA") {
    change("ca", json::string(crypto::CertificateAuthority::create("x")->certificate_pem()));
  }
  SUBCASE("a certificate for another key") {
    auto key = crypto::PrivateKey::generate();
    crypto::IssueRequest request;
    request.common_name = "pi-1";
    change("certificate", json::string(*coordinator.authority().issue(*crypto::make_csr(*key, "pi-1"), request)));
  }
  SUBCASE("too large") {
    change("x", json::string(std::string(100'000, 'x')));
  }
  coordinator.answer_with(answer);
  CHECK_FALSE(enrol(folder.path(), {device}, coordinator.url(), coordinator.token()).has_value());
  CHECK_FALSE(is_enrolled(folder.path()));
}

TEST_CASE("enrolment: a site gets its authority with its identity, or neither") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  const auto key = crypto::PrivateKey::generate();
  REQUIRE(replace_file(folder / "ca.csr", *crypto::make_csr(*key, "pi-1")).has_value());
  const AuthorityFiles files{folder / "ca.csr", folder / "ca.new"};
  std::string authority;
  std::string asked;
  coordinator.answer_with([&](const json::object& request, const std::string& certificate) {
    asked = request.at("authority_csr").as_string();
    json::object body = coordinator.good(request, certificate);
    if (!authority.empty()) {
      body["authority"] = authority;
    }
    return with_body(body);
  });
  const auto attempt = [&] {
    return enrol(folder / "state", {device, true, files}, coordinator.url(), coordinator.token());
  };
  const auto refused = [&](std::string_view because) {
    const auto outcome = attempt();
    REQUIRE_FALSE(outcome.has_value());
    CHECK_MESSAGE(outcome.error().what.find(because) != std::string::npos, outcome.error().what);
    CHECK_FALSE(std::filesystem::exists(files.certificate));
    CHECK_FALSE(is_enrolled(folder / "state"));
  };
  refused("no authority");
  authority = "hello";
  refused("'authority'");
  const auto other = crypto::PrivateKey::generate();
  authority = *coordinator.authority().issue_authority(*crypto::make_csr(*other, "pi-1"), "pi-1");
  refused("for another key");
  crypto::IssueRequest leaf;
  leaf.common_name = "pi-1";
  authority = *coordinator.authority().issue(*crypto::make_csr(*key, "pi-1"), leaf);
  refused("not the certificate of a CA");

  authority = *coordinator.authority().issue_authority(asked, "pi-1");
  const auto enrolled = attempt();
  REQUIRE_MESSAGE(enrolled.has_value(), enrolled.error().what);
  CHECK(read_file(files.certificate).value() == authority);
  CHECK(is_enrolled(folder / "state"));
}

TEST_CASE("enrolment: a site without a request of its authority's does not even ask") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  const AuthorityFiles files{folder / "ca.csr", folder / "ca.new"};
  const auto attempt = [&] {
    return enrol(folder / "state", {device, true, files}, coordinator.url(), coordinator.token());
  };
  CHECK(attempt().error().what.find("the authority's request") != std::string::npos);
  REQUIRE(replace_file(folder / "ca.csr", "hello").has_value());
  CHECK(attempt().error().what.find("the authority's request") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "state"));
}

TEST_CASE("enrolment: what a person mistypes is said at once") {
  const test::TemporaryFolder folder;
  CHECK(enrol(folder.path(), {device}, "http://x", "flops1.a.b").error().kind == ErrorKind::permanent);
  CHECK(enrol(folder.path(), {device}, "https://localhost:1", "flops1.a.b").error().kind == ErrorKind::denied);
}

TEST_CASE("identity: damaged files are named") {
  const test::TemporaryFolder folder;
  FakeCoordinator coordinator;
  REQUIRE(enrol(folder.path(), {device}, coordinator.url(), coordinator.token()).has_value());
  for (const char* content : {"", "[]", "{}", R"({"coordinator":"x","device":"PI","fleet":"f"})"}) {
    REQUIRE(replace_file(folder / "identity/enrolment.json", content).has_value());
    const auto identity = load_identity(folder.path());
    REQUIRE_FALSE(identity.has_value());
    CHECK(identity.error().kind == ErrorKind::corrupt);
    CHECK(identity.error().what.find("enrolment.json") != std::string::npos);
  }
}
