#include "pair.hpp"

#include <sqlite3.h>

#include "flops/tensor/safetensors.hpp"

namespace flops::test {

namespace {

constexpr const char* two_rounds =
    R"({"model":"m","data":"digits","rounds":2,"min_fit":2,"min_available":2,"evaluate":false})";

}  // namespace

Pair::Pair(std::vector<std::pair<std::string, std::string>> environment)
    : coordinator(loop, std::move(environment)), a(coordinator, "a"), b(coordinator, "b") {
  const std::string token = coordinator.token(2);
  join_all({&a, &b}, token);
  coordinator.json("POST", "/v1/runs", two_rounds);
  const auto task = a.await<wire::Task>("task");
  const std::string blob = encoded(initial);
  REQUIRE(a.upload(a.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
}

wire::Task Pair::task_of(Device& device, std::int64_t round) {
  while (true) {
    const auto task = device.await<wire::Task>("task");
    if (task.ref.round == round && task.kind == wire::TaskKind::train) {
      return task;
    }
  }
}

Pair::Work Pair::work(const Device& device, const wire::Task& task, unsigned seed) const {
  const auto base = tensor::open_safetensors(coordinator.state() / "models" / (task.base.hex() + ".safetensors"));
  REQUIRE_MESSAGE(base.has_value(), base.error().what);
  std::vector<float> from(parameters);
  REQUIRE(base->values()(0, from).has_value());
  std::string blob = encoded(values(0.05F, seed), from);
  return {device.result_for(task, blob), std::move(blob)};
}

wire::ReceiptStatus Pair::deliver(Device& device, const Work& work) {
  return device.upload(work.offer, work.blob).status;
}

void Pair::play_round(std::int64_t round) {
  unsigned seed = 7;
  for (Device* device : {&a, &b}) {
    const auto task = task_of(*device, round);
    REQUIRE(deliver(*device, work(*device, task, seed++)) == wire::ReceiptStatus::accepted);
  }
}

std::filesystem::path Pair::stored(const Work& work) const {
  const std::string hex = work.offer.update.sha256.hex();
  return coordinator.state() / "updates" / "objects" / hex.substr(0, 2) / hex;
}

std::string Pair::run_state() {
  return coordinator.json("GET", "/v1/runs/run-1").at("state").as_string().c_str();
}

void change_records(const std::filesystem::path& state, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open((state / "coordinator.db").c_str(), &db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK(sqlite3_close(db) == SQLITE_OK);
}

}  // namespace flops::test
