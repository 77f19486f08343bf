// Control variates: one a run, and one for each update that waits.
#include "samples.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::samples;

namespace {

RunId run(const std::string& name) {
  return *RunId::parse(name);
}

TaskId id(const std::string& name) {
  return *TaskId::parse(name);
}

void put(Storage& storage, const char* task, const char* of, const std::vector<std::byte>& bytes) {
  REQUIRE(storage.transaction([&] { return storage.put_variate(id(task), run(of), bytes.size(), source_of(bytes)); })
              .has_value());
}

void adopt(Storage& storage, const char* task, const char* of, const std::vector<RunId>& keep = {}) {
  REQUIRE(storage.transaction([&] { return storage.adopt_variate(id(task), run(of), keep); }).has_value());
}

std::vector<std::byte> variate_of(Storage& storage, const char* of) {
  std::vector<std::byte> read;
  const auto outcome = storage.read_variate(run(of), append_to(read));
  REQUIRE_MESSAGE(outcome.has_value(), outcome.error().what);
  return read;
}

}  // namespace

TEST_CASE("storage: a control variate is the run's only once its update counts, and survives a restart") {
  const test::TemporaryFolder folder;
  const auto first = pattern(blob::chunk_size + 8, 1);
  const auto second = pattern(blob::chunk_size + 8, 2);
  {
    Storage storage = open(folder.path());
    CHECK(storage.variate_bytes(run("r")).value() == std::nullopt);
    CHECK(storage.read_variate(run("r"), append_to(*std::make_unique<std::vector<std::byte>>())).error().kind ==
          ErrorKind::permanent);
    put(storage, "t1", "r", second);
    put(storage, "t1", "r", first);  // trained again
    CHECK(storage.variate_bytes(run("r")).value() == std::nullopt);
  }
  Storage storage = open(folder.path());
  adopt(storage, "t1", "r");
  adopt(storage, "t1", "r");  // a receipt that comes again
  CHECK(storage.variate_bytes(run("r")).value() == first.size());
  CHECK(variate_of(storage, "r") == first);
  put(storage, "t2", "r", second);
  CHECK(variate_of(storage, "r") == first);
  adopt(storage, "t1", "r");  // of a task that is over
  CHECK(variate_of(storage, "r") == first);
  adopt(storage, "t2", "r");
  CHECK(variate_of(storage, "r") == second);
  REQUIRE(storage.tidy().has_value());
  CHECK(storage.variates().value() == std::vector<StoredVariate>{{run("r"), second.size()}});
  CHECK(storage.contents().integer("SELECT count(*) FROM contents").value() == 1);
  CHECK(storage.contents().integer("SELECT count(*) FROM parts").value() == 2);
}

TEST_CASE("storage: the control variate of an update that does not count is dropped alone") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const auto own = pattern(40, 1);
  put(storage, "t1", "r", own);
  adopt(storage, "t1", "r");
  put(storage, "t2", "r", pattern(40, 2));
  REQUIRE(storage.drop_variate(id("t2")).has_value());
  adopt(storage, "t2", "r");
  REQUIRE(storage.tidy().has_value());
  CHECK(variate_of(storage, "r") == own);
  CHECK(storage.contents().integer("SELECT count(*) FROM contents").value() == 1);
}

TEST_CASE("storage: adopting is undone with the transaction it is part of") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const auto older = pattern(40, 1);
  const auto newer = pattern(40, 2);
  put(storage, "t1", "r", older);
  adopt(storage, "t1", "r");
  put(storage, "t2", "r", newer);
  const auto failed = storage.transaction([&]() -> Result<> {
    auto adopted = storage.adopt_variate(id("t2"), run("r"), {});
    return adopted ? Result<>(fail(ErrorKind::resource, "no space")) : adopted;
  });
  CHECK_FALSE(failed.has_value());
  CHECK(variate_of(storage, "r") == older);
  adopt(storage, "t2", "r");
  CHECK(variate_of(storage, "r") == newer);
}

TEST_CASE("storage: one that is not as it was written is corrupt") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  put(storage, "t1", "r", pattern(40, 1));
  adopt(storage, "t1", "r");
  REQUIRE(storage.contents().run("UPDATE parts SET data = zeroblob(40)").has_value());
  std::vector<std::byte> read;
  CHECK(storage.read_variate(run("r"), append_to(read)).error().kind == ErrorKind::corrupt);
}

TEST_CASE("storage: what no open task needs is dropped, the runs' control variates stay and are no models") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const auto own = pattern(40, 1);
  put(storage, "t0", "r", own);
  adopt(storage, "t0", "r");
  put(storage, "t1", "r", pattern(40, 2));
  put(storage, "gone", "r", pattern(40, 3));
  REQUIRE(storage.keep_only({task("t1", Phase::offering)}).has_value());
  REQUIRE(storage.tidy().has_value());
  CHECK(storage.models()->empty());
  adopt(storage, "gone", "r");
  CHECK(variate_of(storage, "r") == own);
  adopt(storage, "t1", "r");
  CHECK(variate_of(storage, "r") == pattern(40, 2));
}

TEST_CASE("storage: control variates of old runs go, by number and by the quota, but none of a run at work") {
  const test::TemporaryFolder folder;
  StorageOptions options;
  std::size_t left = Storage::max_variates;
  SUBCASE("number") {}
  SUBCASE("quota") {
    options.model_quota = 120;
    left = 3;
  }
  auto storage = Storage::open(folder.path(), Damaged::set_aside, now, options);
  REQUIRE(storage.has_value());
  for (std::size_t i = 0; i < Storage::max_variates + 3; ++i) {
    const std::string name = fmt::format("r{}", i);
    put(*storage, "t", name.c_str(), pattern(40));
    adopt(*storage, "t", name.c_str(), {run("r0")});
  }
  const auto kept = storage->variates().value();
  REQUIRE(kept.size() == left + 1);
  CHECK(kept.front().run == run(fmt::format("r{}", Storage::max_variates + 2)));
  CHECK(kept.back().run == run("r0"));
  CHECK(storage->variate_bytes(run("r1")).value() == std::nullopt);
}

TEST_CASE("storage: a database from before control variates keeps what it holds") {
  const test::TemporaryFolder folder;
  const auto bytes = pattern(100);
  {
    Storage storage = open(folder.path());
    REQUIRE(storage.put_model(digest(1), run("r"), "[]", bytes.size(), source_of(bytes), {}).has_value());
    REQUIRE(storage.contents().run("DROP TABLE variates").has_value());
    REQUIRE(storage.contents().run("PRAGMA user_version=1").has_value());
  }
  Storage storage = open(folder.path());
  CHECK_FALSE(storage.set_aside().has_value());
  CHECK(storage.has_model(digest(1)).value());
  put(storage, "t1", "r", bytes);
}
