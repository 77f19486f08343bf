#include <doctest/doctest.h>
#include <boost/json.hpp>

#include "flops/core/version.hpp"
#include "harness.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("coordinator: a healthy one says so, to whom it knows") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const boost::json::value status = coordinator.json("GET", "/v1/status");
  CHECK(status.at("version").as_string() == version);
  CHECK(status.at("health").as_array().empty());
  CHECK(status.at("runs_active").as_int64() == 0);
  CHECK(coordinator.api_with("", "GET", "/v1/status").status == 401);
  CHECK(coordinator.stop() == 0);
}
