#include <memory>

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <boost/json.hpp>

#include "flops/core/version.hpp"
#include "flops/test/wait.hpp"
#include "harness.hpp"

using namespace flops;
using namespace flops::test;

namespace {

// Nobody else writes to the database while this is there.
class Lock {
 public:
  explicit Lock(const std::filesystem::path& file) {
    REQUIRE(sqlite3_open(file.c_str(), &db_) == SQLITE_OK);
    REQUIRE(sqlite3_busy_timeout(db_, 10'000) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  ~Lock() { sqlite3_close(db_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace

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

TEST_CASE("coordinator: what cannot be recorded is not acted on, and is recorded once it can be") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  REQUIRE(coordinator.api("POST", "/v1/runs", R"({"model": "softmax", "data": "d"})").status == 201);
  REQUIRE(coordinator.json("GET", "/v1/status").at("runs_active").as_int64() == 1);
  auto lock = std::make_unique<Lock>(coordinator.state() / "coordinator.db");
  CHECK(coordinator.api("POST", "/v1/runs/run-1/stop").status == 503);
  const boost::json::value troubled = coordinator.json("GET", "/v1/status");
  REQUIRE(troubled.at("health").as_array().size() == 1);
  CHECK(troubled.at("health").at(0).at("name").as_string() == "storage");
  CHECK(troubled.at("runs_active").as_int64() == 1);
  lock.reset();
  CHECK(
      run_until(loop, [&] { return coordinator.json("GET", "/v1/runs/run-1").at("state").as_string() == "stopped"; }));
  CHECK(run_until(loop, [&] { return coordinator.json("GET", "/v1/status").at("health").as_array().empty(); }));
  CHECK(coordinator.json("GET", "/v1/status").at("runs_active").as_int64() == 0);
  CHECK(coordinator.stop() == 0);
}
