// What a site has to train with, as the site's coordinator says: asked for now and then, in a thread of
// its own, because nobody knows how long an answer takes.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/agent_config/config.hpp"
#include "flops/core/error.hpp"
#include "flops/wire/messages.hpp"
#include "worker.hpp"

namespace flops::agent {

// The answer to GET /v1/devices, summed by tag: of all devices that belong to the site, there now or not; or of the
// sites below it, where any has the data, because they do the site's part then. permanent: it is no such answer, or has
// more tags than a hello may.
[[nodiscard]] Result<std::vector<wire::Dataset>> site_datasets(std::string_view devices_json);

// Loop's thread only.
class SiteWatch {
 public:
  using Heard = std::function<void(Result<std::vector<wire::Dataset>>)>;

  // `heard` gets every answer, or why there is none.
  SiteWatch(const boost::asio::any_io_executor& loop, SiteConfig site, Heard heard);
  void start() { ask(); }
  void stop();

 private:
  void ask();

  const SiteConfig site_;
  const Heard heard_;
  bool stopping_ = false;
  boost::asio::steady_timer timer_;
  Worker worker_;  // last: joined first
};

}  // namespace flops::agent
