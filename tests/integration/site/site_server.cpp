#include "site_server.hpp"

#include <algorithm>
#include <cstring>

#include "fake_model.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/crypto/key.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/safetensors.hpp"

namespace flops::test {
namespace {

namespace json = boost::json;

template <class T>
T must(Result<T> result) {
  REQUIRE_MESSAGE(result.has_value(), (result ? "" : result.error().what));
  return *std::move(result);
}

tensor::Layout layout() {
  return *tensor::Layout::parse(fake_layout);
}

std::string header() {
  return tensor::safetensors_header(layout(), {{"format", "flops-edge"}});
}

http::Response as_json(int status, const json::object& body) {
  return {.status = status, .body = json::serialize(body)};
}

http::Response refused(int status, const std::string& message) {
  return as_json(status, {{"error", json::object{{"code", "refused"}, {"message", message}}}});
}

struct Secrets {
  std::string ca;
  std::string certificate;
  std::string key;
};

// Keys cost time under sanitizers: once for all tests.
const Secrets& secrets() {
  static const Secrets made = [] {
    const auto ca = must(crypto::CertificateAuthority::create("site CA"));
    const auto key = must(crypto::PrivateKey::generate());
    crypto::IssueRequest request;
    request.common_name = "coordinator";
    request.usage = crypto::Usage::server;
    request.names = {"localhost", "127.0.0.1"};
    return Secrets{ca.certificate_pem(), must(ca.issue(must(crypto::make_csr(key, "coordinator")), request)),
                   must(key.to_pem())};
  }();
  return made;
}

}  // namespace

SiteTraining site_training(const std::vector<float>& base, std::uint64_t round) {
  auto sum =
      must(tensor::Accumulator::create(layout(), must(tensor::choose_scales(layout(), tensor::from_memory(base)))));
  std::uint64_t device = 0;
  for (const std::uint32_t weight : site_weights) {
    REQUIRE(sum.add(0, fake_trained(base, 1000 * ++device + round), weight).has_value());
    sum.count(weight);
  }
  SiteTraining training;
  training.model.resize(base.size());
  REQUIRE(sum.mean(tensor::to_memory(training.model)).has_value());
  REQUIRE(sum.write([&](std::span<const std::byte> bytes) -> Result<> {
               training.sum.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
               return {};
             })
              .has_value());
  return training;
}

SiteServer::SiteServer(boost::asio::io_context& loop) : loop_(loop) {
  options_.certificate_pem = secrets().certificate;
  options_.key_pem = secrets().key;
  options_.max_body = 16U << 20U;
  REQUIRE(replace_file(ca_file(), secrets().ca));
  REQUIRE(replace_file(token_file(), std::string(site_token) + "\n"));
  up();
}

void SiteServer::up() {
  server_ = must(
      http::Server::start(loop_.get_executor(), options_,
                          [this](const http::Request& request, const http::Reply& reply) { handle(request, reply); }));
  options_.port = server_->port();  // the same one when it comes back
}

void SiteServer::down() {
  server_.reset();
}

std::string SiteServer::url() const {
  return fmt::format("https://localhost:{}", options_.port);
}

std::size_t SiteServer::asked(const std::string& beginning) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(requests, [&](const std::string& request) { return request.starts_with(beginning); }));
}

void SiteServer::handle(const http::Request& request, const http::Reply& reply) {
  requests.push_back(request.method + " " + request.path);
  const auto chosen = answers.find(requests.back());
  if (failing > 0) {
    --failing;
    reply(refused(503, "the disk is full"));
  } else if (request.bearer != site_token) {
    reply(refused(401, "no such token"));
  } else {
    reply(chosen == answers.end() ? answer(request) : chosen->second);
  }
}

http::Response SiteServer::answer(const http::Request& request) {
  const std::string& path = request.path;
  if (path == "/v1/devices") {
    return {.body = devices};
  }
  if (path == "/v1/parts" && request.method == "POST") {
    return take_part(request);
  }
  if (path == "/v1/parts") {
    json::array list;
    for (const auto& [key, played] : parts) {
      list.emplace_back(json::object{{"key", key}, {"state", played.state}});
    }
    return as_json(200, {{"parts", std::move(list)}});
  }
  if (path.starts_with("/v1/parts/")) {
    return part(request.method, path.substr(std::strlen("/v1/parts/")));
  }
  return path.starts_with("/v1/models/") ? model(request, path.substr(std::strlen("/v1/models/")))
                                         : refused(404, "there is no " + path);
}

http::Response SiteServer::take_part(const http::Request& request) {
  const json::object body = json::parse(request.body).as_object();
  const std::string key(body.at("key").as_string());
  const json::value* base = body.if_contains("base");
  if (base != nullptr && !models.contains(std::string(base->as_string()))) {
    return refused(404, "there is no such model");
  }
  const auto known = parts.find(key);
  if (known != parts.end() && known->second.request != body) {
    return refused(409, "this part is another one");
  }
  const bool fresh = known == parts.end();
  if (fresh) {
    parts[key].request = body;
    if (finishes_at_once) {
      finish(key);
    }
  }
  return as_json(fresh ? 201 : 200, {{"key", key}, {"run", "run-7"}});
}

http::Response SiteServer::part(const std::string& method, const std::string& rest) {
  const std::string key = rest.substr(0, rest.find('/'));
  const auto known = parts.find(key);
  if (method == "DELETE") {
    parts.erase(key);
    return {.status = 204};
  }
  if (known == parts.end()) {
    return refused(404, "there is no such part");
  }
  if (rest.ends_with("/sum")) {
    return {.content_type = "application/octet-stream", .body = sums[key]};
  }
  const PlayedPart& played = known->second;
  json::object view{
      {"key", key},  {"run", "run-7"},    {"state", played.state}, {"reason", played.reason}, {"round", played.round},
      {"rounds", 1}, {"participants", 2}, {"result", nullptr}};
  if (played.state == "finished") {
    view["result"] = played.result;
  }
  return as_json(200, view);
}

http::Response SiteServer::model(const http::Request& request, const std::string& name) {
  if (request.method == "PUT") {
    models[name] = request.body;
    return {.status = 201};
  }
  const auto known = models.find(name);
  return known == models.end() ? refused(404, "there is no such model")
                               : http::Response{.content_type = "application/octet-stream", .body = known->second};
}

std::string SiteServer::keep(const std::vector<float>& values) {
  const std::string name = must(tensor::model_digest(layout(), tensor::from_memory(values))).hex();
  models[name] = header() + std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return name;
}

std::vector<float> SiteServer::values_of(const std::string& name) const {
  const std::string& file = models.at(name);
  const std::string head = header();
  REQUIRE(file.starts_with(head));
  REQUIRE(file.size() == head.size() + fake_parameters * sizeof(float));
  std::vector<float> values(fake_parameters);
  std::memcpy(values.data(), file.data() + head.size(), fake_parameters * sizeof(float));
  REQUIRE(must(tensor::model_digest(layout(), tensor::from_memory(values))).hex() == name);
  return values;
}

void SiteServer::finish(const std::string& key) {
  PlayedPart& played = parts.at(key);
  const std::string kind(played.request.at("kind").as_string());
  const auto round = static_cast<std::uint64_t>(played.request.at("first_round").as_int64());
  json::object& result = played.result;
  const json::object metrics{{"loss", 1.25},         {"accuracy", 0.5}, {"accuracy_min", 0.25},
                             {"accuracy_max", 0.75}, {"samples", 20},   {"devices", 2}};
  if (kind == "init") {
    result["model"] = keep(fake_initial(3));
    result["layout"] = fake_layout;
  } else {
    result["metrics"] = metrics;
  }
  if (kind == "train") {
    const SiteTraining training = site_training(values_of(std::string(played.request.at("base").as_string())), round);
    const bool sum = played.request.at("sum").as_bool();
    result["model"] = keep(training.model);
    result["sum"] = sum;
    result["sum_bytes"] = sum ? training.sum.size() : 0;
    result["weight"] = site_weights[0] + site_weights[1];
    result["steps"] = site_steps;
    result["train_loss"] = 0.5;
    if (sum) {
      sums[key] = training.sum;
    }
  }
  played.round = 1;
  played.state = "finished";
}

}  // namespace flops::test
