#include "harness.hpp"

#include <csignal>
#include <cstdlib>

#include <doctest/doctest.h>

#include "flops/core/file.hpp"
#include "flops/test/wait.hpp"

namespace flops::test {

using namespace std::chrono_literals;

CoordinatorProcess::CoordinatorProcess(boost::asio::io_context& loop,
                                       std::vector<std::pair<std::string, std::string>> environment,
                                       const std::string& settings, bool launched)
    : loop_(loop), environment_(std::move(environment)) {
  const std::string config = settings +
                             "fleet = \"test\"\n[state]\nfolder = \"state\"\n[api]\nport = 0\n[broker]\nport = 0\n"
                             "[limits]\nmax_weight = 1000\nmax_parameters = 1000000\n";
  REQUIRE(replace_file(folder_ / "coordinator.toml", config).has_value());
  launch();
  if (!launched) {
    await_ready();
  }
}

void CoordinatorProcess::start() {
  launch();
  await_ready();
}

void CoordinatorProcess::launch() {
  exit_.reset();
  process::Command command;
  command.program = std::filesystem::path(std::getenv("FLOPS_BIN")) / "flops-coordinator";
  command.arguments = {"--config", (folder_ / "coordinator.toml").string()};
  command.environment = environment_;
  command.log_file = folder_ / "log";
  std::error_code ignored;
  std::filesystem::remove(state() / "endpoints.json", ignored);
  auto child = process::Child::spawn(loop_.get_executor(), command, [this](process::Exit exit) { exit_ = exit; });
  REQUIRE_MESSAGE(child.has_value(), child.error().what);
  child_ = *std::move(child);
}

void CoordinatorProcess::await_ready() {
  const bool there = run_until(loop_, [&] { return exit_ || std::filesystem::exists(state() / "endpoints.json"); });
  REQUIRE_MESSAGE((there && !exit_), log());
  const auto endpoints = boost::json::parse(read_file(state() / "endpoints.json").value());
  url_ = endpoints.at("api").as_string().c_str();
  REQUIRE_MESSAGE(run_until(loop_, [&] { return api("GET", "/readyz").status == 200; }), log());
}

void CoordinatorProcess::kill() {
  child_->signal(SIGKILL);
  REQUIRE(run_until(loop_, [&] { return exit_.has_value(); }));
}

int CoordinatorProcess::stop() {
  child_->signal(SIGTERM);
  REQUIRE(run_until(loop_, [&] { return exit_.has_value(); }));
  return exit_->signalled ? 128 + exit_->code : exit_->code;
}

http::ClientResponse CoordinatorProcess::api(const std::string& method, const std::string& path,
                                             const std::string& body) {
  std::string bearer = read_file(state() / "admin.token").value_or("");
  while (!bearer.empty() && bearer.back() == '\n') {
    bearer.pop_back();
  }
  return api_with(bearer, method, path, body);
}

http::ClientResponse CoordinatorProcess::api_with(const std::string& bearer, const std::string& method,
                                                  const std::string& path, const std::string& body) {
  http::ClientOptions options;
  options.ca_pem = read_file(state() / "ca.pem").value_or("");
  options.bearer = bearer;
  auto url = http::Url::parse(url_ + path);
  REQUIRE(url.has_value());
  auto response = http::request(method, *url, body, options);
  return response ? *response : http::ClientResponse{};
}

boost::json::value CoordinatorProcess::json(const std::string& method, const std::string& path,
                                            const std::string& body) {
  const auto response = api(method, path, body);
  REQUIRE_MESSAGE((response.status == 200 || response.status == 201), path << ": " << response.body);
  return boost::json::parse(response.body);
}

std::string CoordinatorProcess::token(int uses) {
  const auto made = json("POST", "/v1/tokens", fmt::format(R"({{"uses":{}}})", uses));
  return made.at("token").as_string().c_str();
}

std::string CoordinatorProcess::site_token(int uses) {
  const auto made = json("POST", "/v1/tokens", fmt::format(R"({{"uses":{},"role":"cluster"}})", uses));
  CHECK(made.at("role") == "cluster");
  return made.at("token").as_string().c_str();
}

std::string CoordinatorProcess::log() const {
  return read_file(folder_ / "log", 16U << 20U).value_or("");
}

}  // namespace flops::test
