#include "site_watch.hpp"

#include <limits>
#include <map>
#include <string>

#include <boost/json.hpp>

#include "flops/core/file.hpp"
#include "flops/core/id.hpp"
#include "flops/http/client.hpp"

namespace flops::agent {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds pause_between{10};
constexpr std::chrono::seconds patience{5};
constexpr std::size_t max_answer = std::size_t{64} << 20U;
constexpr std::size_t max_tags = 64;  // of a hello
constexpr std::size_t max_shown = 200;

Result<std::vector<wire::Dataset>> ask_site(const SiteConfig& site) {
  auto url = http::Url::parse(site.url);
  auto ca = url ? read_file(site.ca_file) : Result<std::string>(fail(url.error()));
  auto token = ca ? read_file(site.token_file) : ca;
  if (!token) {
    return fail(token.error());
  }
  http::ClientOptions options;
  options.ca_pem = *std::move(ca);
  options.bearer = token->substr(0, token->find_last_not_of(" \t\r\n") + 1);
  options.timeout = patience;
  options.max_response = max_answer;
  url->path = "/v1/devices";
  auto answer = http::request("GET", *url, "", options);
  if (!answer) {
    return fail(answer.error());
  }
  if (answer->status != 200) {
    return fail(ErrorKind::permanent, "GET /v1/devices: status {}: {}", answer->status,
                answer->body.substr(0, max_shown));
  }
  return site_datasets(answer->body);
}

// Counts beyond what a message holds cannot be real.
std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return b > most - a ? most : a + b;
}

std::string_view text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  const json::string* text = value != nullptr ? value->if_string() : nullptr;
  return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view();
}

bool take_count(const json::object& object, std::string_view name, std::uint64_t& into) {
  const json::value* value = object.if_contains(name);
  boost::system::error_code error;
  const auto count = value != nullptr && !value->is_double() ? value->to_number<std::int64_t>(error) : -1;
  if (error || count < 0) {
    return false;
  }
  into = sum(into, static_cast<std::uint64_t>(count));
  return true;
}

const json::array* array_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr ? value->if_array() : nullptr;
}

using ByTag = std::map<std::string, wire::Dataset>;

// What devices have, and what sites below this one have.
struct Found {
  ByTag of_devices;
  ByTag of_sites;
};

bool add_dataset(const json::value& value, ByTag& found) {
  const json::object* object = value.if_object();
  const std::string tag(object != nullptr ? text_of(*object, "tag") : "");
  if (!is_valid_id(tag)) {
    return false;
  }
  wire::Dataset& dataset = found[tag];
  dataset.tag = tag;
  return take_count(*object, "train_samples", dataset.train_samples) &&
         take_count(*object, "test_samples", dataset.test_samples);
}

bool add_device(const json::value& value, Found& found) {
  const json::object* device = value.if_object();
  const json::array* datasets = device != nullptr ? array_of(*device, "datasets") : nullptr;
  if (datasets == nullptr) {
    return false;
  }
  if (text_of(*device, "state") != "accepted") {
    return true;
  }
  ByTag& whose = text_of(*device, "role") == "cluster" ? found.of_sites : found.of_devices;
  return std::ranges::all_of(*datasets, [&](const json::value& dataset) { return add_dataset(dataset, whose); });
}

// A part is done by sites when any has the data, else by devices.
ByTag those_that_train(Found found) {
  for (const auto& [tag, dataset] : found.of_sites) {
    if (dataset.train_samples > 0) {
      found.of_devices[tag] = dataset;
    }
  }
  return std::move(found.of_devices);
}

}  // namespace

Result<std::vector<wire::Dataset>> site_datasets(std::string_view devices_json) {
  boost::system::error_code error;
  const json::value value = json::parse(devices_json, error);
  const json::object* object = error ? nullptr : value.if_object();
  const json::array* devices = object != nullptr ? array_of(*object, "devices") : nullptr;
  Found found;
  const bool good = devices != nullptr &&
                    std::ranges::all_of(*devices, [&](const json::value& device) { return add_device(device, found); });
  if (!good) {
    return fail(ErrorKind::permanent, "GET /v1/devices: the answer is no list of devices");
  }
  ByTag tags = those_that_train(std::move(found));
  if (tags.size() > max_tags) {
    return fail(ErrorKind::permanent, "the site's devices have {} data tags; at most {} can be offered", tags.size(),
                max_tags);
  }
  std::vector<wire::Dataset> datasets;
  for (auto& [tag, dataset] : tags) {
    datasets.push_back(std::move(dataset));
  }
  return datasets;
}

SiteWatch::SiteWatch(const boost::asio::any_io_executor& loop, SiteConfig site, Heard heard)
    : site_(std::move(site)), heard_(std::move(heard)), timer_(loop), worker_(loop) {}

void SiteWatch::stop() {
  stopping_ = true;
  timer_.cancel();
}

void SiteWatch::ask() {
  worker_.run([this]() -> Worker::After {
    return [this, answer = ask_site(site_)] {
      if (stopping_) {
        return;
      }
      heard_(answer);
      timer_.expires_after(pause_between);
      timer_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled && !stopping_) {
          ask();
        }
      });
    };
  });
}

}  // namespace flops::agent
