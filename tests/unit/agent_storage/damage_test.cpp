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

// As version 2 had it: contents beside the states.
constexpr std::array<std::string_view, 1> version_2 = {R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tasks(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, phase TEXT NOT NULL,
  attempts INTEGER NOT NULL, interruptions INTEGER NOT NULL, task TEXT NOT NULL, result TEXT, metrics TEXT,
  metrics_delivered INTEGER NOT NULL);
CREATE TABLE finished(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);
CREATE TABLE contents(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE parts(content INTEGER NOT NULL REFERENCES contents(id) ON DELETE CASCADE, n INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE TABLE models(seq INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, run TEXT NOT NULL,
  layout TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE evaluations(seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE datasets(tag TEXT PRIMARY KEY, train_samples INTEGER NOT NULL, test_samples INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints(task TEXT PRIMARY KEY, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('session', 's1');
INSERT INTO tasks VALUES(1, 'run-1.r2.b', 'uploading', 0, 0, '{}', NULL, NULL, 0);
INSERT INTO finished(id) VALUES('run-1.r1.a');
INSERT INTO contents VALUES(1, 'update', 'run-1.r2.b', 4);
INSERT INTO parts VALUES(1, 0, x'00000000');
)sql"};

}  // namespace

TEST_CASE("storage: a new database has the newest schema, an old program refuses a newer one and leaves it alone") {
  const test::TemporaryFolder folder;
  bool in_states = false;
  SUBCASE("states") {
    in_states = true;
  }
  SUBCASE("contents") {}
  {
    Storage storage = open(folder.path());
    CHECK(storage.states().integer("PRAGMA user_version").value() == 4);
    CHECK(storage.contents().integer("PRAGMA user_version").value() == 2);
    store::Database& newer = in_states ? storage.states() : storage.contents();
    REQUIRE(newer.run("PRAGMA user_version=99").has_value());
  }
  auto opened = Storage::open(folder.path(), Damaged::set_aside, now);
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().kind == ErrorKind::permanent);
  CHECK(opened.error().what.find("99") != std::string::npos);
  CHECK(std::filesystem::exists(folder / "agent.db"));
}

TEST_CASE("storage: a database of an older version keeps what is over, and open tasks begin again") {
  const test::TemporaryFolder folder;
  {
    auto older = store::Database::open(folder / "agent.db", version_2);
    REQUIRE_MESSAGE(older.has_value(), older.error().what);
    REQUIRE(older->run("PRAGMA user_version=2").has_value());
  }
  Storage storage = open(folder.path());
  CHECK_FALSE(storage.set_aside().has_value());
  CHECK(storage.is_finished(*TaskId::parse("run-1.r1.a")).value());
  CHECK(storage.meta("session").value() == "s1");
  CHECK(tasks_of(storage).empty());
  CHECK(storage.put_task(task("t1")).has_value());
}

TEST_CASE("storage: a file that is no database is set aside and the agent starts empty") {
  const test::TemporaryFolder folder;
  std::string damaged;
  SUBCASE("states") {
    damaged = "agent.db";
  }
  SUBCASE("contents") {
    damaged = "contents.db";
  }
  {
    Storage storage = open(folder.path());
    REQUIRE(storage.put_task(task("t0")).has_value());
  }
  REQUIRE(replace_file(folder / damaged, std::string(8192, 'x')).has_value());
  Storage storage = open(folder.path());
  REQUIRE(storage.set_aside().has_value());
  CHECK(storage.set_aside()->filename() == "agent.db.damaged-1700000000000");
  CHECK(read_file(folder / (damaged + ".damaged-1700000000000")).value() == std::string(8192, 'x'));
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
  REQUIRE(storage.states().run("UPDATE tasks SET task = '{}' WHERE id = 't1'").has_value());
  REQUIRE(storage.states().run("UPDATE tasks SET phase = 'flying' WHERE id = 't2'").has_value());
  REQUIRE(storage.states().run("UPDATE tasks SET phase = 'uploading' WHERE id = 't4'").has_value());
  std::size_t damaged = 0;
  const auto tasks = storage.tasks(damaged).value();
  CHECK(damaged == 3);
  CHECK(tasks == std::vector{task("t3")});
  CHECK(tasks_of(storage).size() == 1);
}
