#include <fstream>

#include "flops/core/file.hpp"
#include "samples.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::samples;

namespace {

void overwrite(const std::filesystem::path& file, std::streamoff offset, std::size_t count) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(offset);
  stream << std::string(count, '\xA5');
  REQUIRE(stream.good());
}

}  // namespace

TEST_CASE("storage: a new database has the newest schema, an old program refuses a newer one and leaves it alone") {
  const test::TemporaryFolder folder;
  {
    Storage storage = open(folder.path());
    CHECK(storage.database().integer("PRAGMA user_version").value() == 2);
    REQUIRE(storage.database().run("PRAGMA user_version=99").has_value());
  }
  auto opened = Storage::open(folder.path(), Damaged::set_aside, now);
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().kind == ErrorKind::permanent);
  CHECK(opened.error().what.find("99") != std::string::npos);
  CHECK(std::filesystem::exists(folder / "agent.db"));
}

TEST_CASE("storage: an update of a database without checkpoints is still there after the migration") {
  const test::TemporaryFolder folder;
  const auto bytes = pattern(blob::chunk_size + 10);
  const TaskState offering = task("run-1.r3.a", Phase::offering);
  {
    Storage storage = open(folder.path());
    REQUIRE(storage.put_task(offering).has_value());
    REQUIRE(storage.put_update(offering.task.ref.task, {digest(4), bytes.size()}, source_of(bytes)).has_value());
    // As version 1 had it.
    for (const char* sql : {"DROP TABLE checkpoints", "PRAGMA user_version=1"}) {
      REQUIRE(storage.database().run(sql).has_value());
    }
  }
  Storage storage = open(folder.path());
  CHECK_FALSE(storage.set_aside().has_value());
  const auto last = storage.read_update_chunk(offering.task.ref.task, 1);
  REQUIRE(last.has_value());
  CHECK(**last == std::string(reinterpret_cast<const char*>(bytes.data()) + blob::chunk_size, 10));
  REQUIRE(storage.drop_update(offering.task.ref.task).has_value());
  CHECK(storage.database().integer("SELECT count(*) FROM parts").value() == 0);
  CHECK(storage.database().integer("SELECT count(*) FROM pragma_foreign_key_check").value() == 0);
}

TEST_CASE("storage: a file that is no database is set aside and the agent starts empty") {
  const test::TemporaryFolder folder;
  REQUIRE(replace_file(folder / "agent.db", std::string(8192, 'x')).has_value());
  Storage storage = open(folder.path());
  REQUIRE(storage.set_aside().has_value());
  CHECK(storage.set_aside()->filename() == "agent.db.damaged-1700000000000");
  CHECK(read_file(*storage.set_aside()).value() == std::string(8192, 'x'));
  CHECK(tasks_of(storage).empty());
  CHECK(storage.put_task(task("t1")).has_value());
}

TEST_CASE("storage: a damaged page is found at the start, and the database set aside") {
  const test::TemporaryFolder folder;
  {
    Storage storage = open(folder.path());
    for (int i = 0; i < 20; ++i) {
      REQUIRE(storage.put_task(task(fmt::format("t{}", i))).has_value());
    }
  }  // closing the last connection moves everything into the main file
  overwrite(folder / "agent.db", 4096, 4096 * 4);
  auto refused = Storage::open(folder.path(), Damaged::refuse, now);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::corrupt);
  CHECK(std::filesystem::exists(folder / "agent.db"));
  Storage storage = open(folder.path());
  CHECK(storage.set_aside().has_value());
  CHECK(tasks_of(storage).empty());
}

TEST_CASE("storage: a stored task that cannot be read is dropped, the others stay") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  for (const char* id : {"t1", "t2", "t3", "t4"}) {
    REQUIRE(storage.put_task(task(id)).has_value());
  }
  REQUIRE(storage.database().run("UPDATE tasks SET task = '{}' WHERE id = 't1'").has_value());
  REQUIRE(storage.database().run("UPDATE tasks SET phase = 'flying' WHERE id = 't2'").has_value());
  REQUIRE(storage.database().run("UPDATE tasks SET phase = 'uploading' WHERE id = 't4'").has_value());
  std::size_t damaged = 0;
  const auto tasks = storage.tasks(damaged).value();
  CHECK(damaged == 3);
  CHECK(tasks == std::vector{task("t3")});
  CHECK(tasks_of(storage).size() == 1);
}
