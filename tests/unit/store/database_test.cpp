#include <string>
#include <vector>

#include "fixture.hpp"

namespace flops::store {
namespace {

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 131 + i / 256) & 0xff);
  }
  return bytes;
}

TEST_CASE("store: every type of value comes back as it was bound") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("CREATE TABLE v(i, d, t, b, n, e, z)"));
  const std::string text("with\0zero", 9);
  const auto bytes = pattern(3);
  REQUIRE(
      database.run("INSERT INTO v VALUES(?,?,?,?,?,?,?)", {INT64_MIN, 0.1, text, std::span<const std::byte>(bytes),
                                                           nullptr, std::string_view(), std::span<const std::byte>()}));
  int rows = 0;
  REQUIRE(database.each("SELECT i,d,t,b,n,e,z FROM v", {}, [&](const Row& row) -> Result<> {
    ++rows;
    CHECK(row.integer(0) == INT64_MIN);
    CHECK(row.number(1) == 0.1);
    CHECK(row.text(2) == text);
    CHECK(std::vector(row.bytes(3).begin(), row.bytes(3).end()) == bytes);
    CHECK(row.is_null(4));
    CHECK_FALSE(row.is_null(5));
    CHECK(row.text(5).empty());
    CHECK_FALSE(row.is_null(6));
    CHECK(row.bytes(6).empty());
    return {};
  }));
  CHECK(rows == 1);
}

TEST_CASE("store: single values, changes and row ids") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(name) VALUES('a'), ('b'), (NULL)"));
  CHECK(database.changes() == 3);
  CHECK(database.last_row_id() == 3);
  CHECK(database.integer("SELECT id FROM items WHERE name=?", {"b"}).value() == 2);
  CHECK(database.text("SELECT name FROM items WHERE id=?", {1}).value() == "a");
  CHECK(database.text("SELECT name FROM items WHERE id=?", {3}).value() == std::nullopt);
  CHECK(database.integer("SELECT id FROM items WHERE name=?", {"z"}).value() == std::nullopt);
}

TEST_CASE("store: the same query may run inside its own callback") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(name) VALUES('a'), ('b'), ('c')"));
  constexpr std::string_view sql = "SELECT id FROM items WHERE id > ? ORDER BY id";
  std::vector<std::int64_t> seen;
  REQUIRE(database.each(sql, {0}, [&](const Row& outer) -> Result<> {
    return database.each(sql, {outer.integer(0)}, [&](const Row& inner) -> Result<> {
      seen.push_back(outer.integer(0) * 10 + inner.integer(0));
      return {};
    });
  }));
  CHECK(seen == std::vector<std::int64_t>{12, 13, 23});
}

TEST_CASE("store: an error of the callback ends the query and comes out") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(name) VALUES('a'), ('b')"));
  int calls = 0;
  const auto outcome = database.each("SELECT id FROM items", {}, [&](const Row&) -> Result<> {
    ++calls;
    return fail(ErrorKind::cancelled, "enough");
  });
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::cancelled);
  CHECK(calls == 1);
}

TEST_CASE("store: more different statements than the cache holds") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 200; ++i) {
      CHECK(database.integer(fmt::format("SELECT {}", i)).value() == i);
    }
  }
  database.release_memory();
  CHECK(database.integer("SELECT 7").value() == 7);
}

TEST_CASE("store: a transaction commits, rolls back on an error, and does not nest") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  const auto insert = [&] { return database.run("INSERT INTO items(name) VALUES(NULL)"); };

  REQUIRE(database.transaction(insert));
  CHECK(count_items(database) == 1);

  const auto failed = database.transaction([&]() -> Result<> {
    REQUIRE(insert());
    return fail(ErrorKind::cancelled, "changed our mind");
  });
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::cancelled);
  CHECK(count_items(database) == 1);

  const auto nested = database.transaction([&] {
    REQUIRE(insert());
    return database.transaction(insert);
  });
  REQUIRE_FALSE(nested);
  CHECK(nested.error().kind == ErrorKind::bug);
  CHECK(count_items(database) == 1);

  REQUIRE(database.transaction(insert));
  CHECK(count_items(database) == 2);
}

TEST_CASE("store: one transaction may be synced less, and the next single statement is synced as before") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  constexpr int normal = 1;
  constexpr int full = 2;
  const auto synchronous = [&] { return database.integer("PRAGMA synchronous")->value(); };
  CHECK(synchronous() == full);
  const auto body = [&]() -> Result<> { return database.run("INSERT INTO items(name) VALUES('a')"); };
  int inside = 0;
  REQUIRE(database.transaction(
      [&] {
        inside = static_cast<int>(synchronous());
        return body();
      },
      Durability::normal));
  CHECK(inside == normal);
  CHECK(synchronous() == full);
  const auto failing = [&]() -> Result<> { return fail(ErrorKind::permanent, "no"); };
  CHECK_FALSE(database.transaction(failing, Durability::normal));
  CHECK(synchronous() == full);
}

TEST_CASE("store: sync() commits what makes the disk sync the log, and changes nothing") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  auto database = open_items(file);
  REQUIRE(
      database.transaction([&] { return database.run("INSERT INTO items(name) VALUES('a')"); }, Durability::normal));
  const auto log_size = [&] { return std::filesystem::file_size(file.string() + "-wal"); };
  const auto version = database.integer("PRAGMA user_version")->value();
  const auto before = log_size();
  REQUIRE(database.sync());
  CHECK(log_size() > before);
  CHECK(database.integer("PRAGMA user_version")->value() == version);
  CHECK(database.sync());
}

TEST_CASE("store: without automatic checkpoints the log grows until checkpoint(), which moves it into the file") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  OpenOptions options;
  options.checkpoint_pages = 0;
  static constexpr std::string_view blobs_only[] = {"CREATE TABLE t(data BLOB)"};
  auto database = Database::open(file, blobs_only, options);
  REQUIRE(database.has_value());
  const auto bytes = pattern(1 << 20);
  for (int i = 0; i < 6; ++i) {  // more than the usual 1000 pages
    REQUIRE(database->run("INSERT INTO t VALUES(?)", {std::span<const std::byte>(bytes)}));
  }
  CHECK(std::filesystem::file_size(file) < bytes.size());
  REQUIRE(database->checkpoint());
  CHECK(std::filesystem::file_size(file) > 6 * bytes.size());
}

TEST_CASE("store: a large BLOB is written and read in pieces") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  constexpr std::size_t size = 3'000'000;
  constexpr std::size_t piece = 100'000;
  const auto bytes = pattern(size);
  REQUIRE(database.run("INSERT INTO items(data) VALUES(zeroblob(?))", {std::uint64_t{size}}));
  const std::int64_t id = database.last_row_id();
  REQUIRE(database.transaction([&]() -> Result<> {
    for (std::size_t at = 0; at < size; at += piece) {
      if (auto written = database.write_blob("items", "data", id, at, std::span(bytes).subspan(at, piece)); !written) {
        return written;
      }
    }
    return {};
  }));
  std::vector<std::byte> back(size);
  for (std::size_t at = 0; at < size; at += piece) {
    REQUIRE(database.read_blob("items", "data", id, at, std::span(back).subspan(at, piece)));
  }
  CHECK(back == bytes);
}

TEST_CASE("store: BLOB access outside the value or the table is refused") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(id, data) VALUES(1, zeroblob(10))"));
  std::vector<std::byte> buffer(4);
  struct Case {
    const char* name;
    const char* column;
    std::int64_t row;
    std::uint64_t offset;
    bool ok;
  };
  for (const Case& row : {Case{"the last bytes", "data", 1, 6, true}, Case{"past the end", "data", 1, 7, false},
                          Case{"an offset that overflows", "data", 1, UINT64_MAX, false},
                          Case{"no such row", "data", 2, 0, false}, Case{"no such column", "nothing", 1, 0, false}}) {
    SUBCASE(row.name) {
      const auto read = database.read_blob("items", row.column, row.row, row.offset, buffer);
      const auto written = database.write_blob("items", row.column, row.row, row.offset, buffer);
      CHECK(read.has_value() == row.ok);
      CHECK(written.has_value() == row.ok);
      if (!row.ok) {
        CHECK(read.error().kind == ErrorKind::permanent);
        CHECK(written.error().kind == ErrorKind::permanent);
      }
    }
  }
}

TEST_CASE("store: a backup of an open database is complete and usable while the original goes on") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(name) VALUES('before')"));
  REQUIRE(database.backup(folder / "copy.db"));
  REQUIRE(database.run("INSERT INTO items(name) VALUES('after')"));

  auto copy = open_items(folder / "copy.db");
  CHECK(count_items(copy) == 1);
  REQUIRE(copy.check());
  REQUIRE(copy.run("INSERT INTO items(name) VALUES('in the copy')"));
  CHECK(count_items(database) == 2);
  CHECK_FALSE(std::filesystem::exists(folder / "copy.db.new"));
  SUBCASE("a second backup replaces the first") {
    {
      const auto closed = std::move(copy);
    }
    REQUIRE(database.backup(folder / "copy.db"));
    auto second = open_items(folder / "copy.db");
    CHECK(count_items(second) == 2);
  }
  SUBCASE("a folder that does not exist is an error and leaves nothing") {
    const auto outcome = database.backup(folder / "no" / "copy.db");
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().kind == ErrorKind::permanent);
  }
}

TEST_CASE("store: closing leaves one file, without a write-ahead log") {
  const test::TemporaryFolder folder;
  {
    auto database = open_items(folder / "a.db");
    REQUIRE(database.run("INSERT INTO items(name) VALUES('a')"));
    CHECK(std::filesystem::exists(folder / "a.db-wal"));
  }
  CHECK_FALSE(std::filesystem::exists(folder / "a.db-wal"));
  CHECK_FALSE(std::filesystem::exists(folder / "a.db-shm"));
  auto database = open_items(folder / "a.db");
  CHECK(count_items(database) == 1);
}

TEST_CASE(
    "store: every byte that is written is counted, long values once with a rollback journal and twice with a log") {
  constexpr std::uint64_t value = 4U << 20U;
  const test::TemporaryFolder folder;
  const auto written_for = [&](Journal journal, const char* name) {
    OpenOptions options;
    options.journal = journal;
    auto database = Database::open(folder / name, schema, options);
    REQUIRE(database);
    const std::uint64_t before = bytes_written();
    REQUIRE(database->run("INSERT INTO items(data) VALUES(zeroblob(?))", {value}));
    REQUIRE(database->checkpoint());
    return static_cast<double>(bytes_written() - before) / static_cast<double>(value);
  };
  const double once = written_for(Journal::rollback, "rollback.db");
  const double twice = written_for(Journal::write_ahead, "log.db");
  CHECK(once > 1.0);
  CHECK(once < 1.05);
  CHECK(twice > 2.0);
  CHECK(twice < 2.1);
}

}  // namespace
}  // namespace flops::store
