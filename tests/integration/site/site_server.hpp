// The coordinator of a site, played on the test's loop over real HTTPS: its parts, models and devices, and what it
// answers when it is in trouble.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>

#include <doctest/doctest.h>

#include "flops/core/digest.hpp"
#include "flops/http/server.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::test {

struct PlayedPart {
  boost::json::object request;
  std::string state = "queued";
  std::string reason;
  std::int64_t round = 0;
  boost::json::object result;
};

inline constexpr const char* site_token = "s3cret.site";
inline constexpr std::uint32_t site_weights[] = {15, 25};  // samples of the devices
inline constexpr std::int64_t site_steps = 9;

// What a site's devices make of a model, as the played one has it: two contributions, their exact sum and its mean.
struct SiteTraining {
  std::vector<float> model;
  std::string sum;
};
[[nodiscard]] SiteTraining site_training(const std::vector<float>& base, std::uint64_t round);

class SiteServer {
 public:
  explicit SiteServer(boost::asio::io_context& loop);  // is up
  SiteServer(const SiteServer&) = delete;
  SiteServer& operator=(const SiteServer&) = delete;

  void up();
  void down();  // connections are refused
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::filesystem::path ca_file() const { return folder_ / "ca.pem"; }
  [[nodiscard]] std::filesystem::path token_file() const { return folder_ / "token"; }

  // How often this was asked: "POST /v1/parts", or the beginning of it.
  [[nodiscard]] std::size_t asked(const std::string& beginning) const;
  // As the part's request wants it; the state is `finished` then.
  void finish(const std::string& key);
  // A model that is there under its name.
  std::string keep(const std::vector<float>& values);

  bool finishes_at_once = true;
  int failing = 0;                                // so many requests are answered with 503
  std::map<std::string, http::Response> answers;  // instead of the usual ones, by "METHOD path"
  std::string devices = R"({"devices":[]})";
  std::map<std::string, PlayedPart> parts;
  std::map<std::string, std::string> models;  // files, by digest
  std::map<std::string, std::string> sums;    // by key
  std::vector<std::string> requests;

 private:
  void handle(const http::Request& request, const http::Reply& reply);
  [[nodiscard]] http::Response answer(const http::Request& request);
  [[nodiscard]] http::Response take_part(const http::Request& request);
  [[nodiscard]] http::Response part(const std::string& method, const std::string& rest);
  [[nodiscard]] http::Response model(const http::Request& request, const std::string& name);
  [[nodiscard]] std::vector<float> values_of(const std::string& model) const;

  boost::asio::io_context& loop_;
  TemporaryFolder folder_;
  http::ServerOptions options_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace flops::test
