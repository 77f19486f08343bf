#include <fstream>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "fixture.hpp"

namespace flops::store {
namespace {

TEST_CASE("store: what SQL may do wrong and which kind of error it is") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(id, name) VALUES(1, 'a')"));
  struct Case {
    const char* name;
    const char* sql;
    ErrorKind kind;
  };
  for (const Case& row :
       {Case{"unique", "INSERT INTO items(name) VALUES('a')", ErrorKind::permanent},
        Case{"foreign key", "INSERT INTO parts(item) VALUES(99)", ErrorKind::permanent},
        Case{"not null", "INSERT INTO parts(item) VALUES(NULL)", ErrorKind::permanent},
        Case{"syntax", "SELEKT 1", ErrorKind::bug}, Case{"no such table", "SELECT * FROM nowhere", ErrorKind::bug},
        Case{"two statements", "SELECT 1; SELECT 2", ErrorKind::bug}, Case{"nothing", "  ", ErrorKind::bug},
        Case{"a missing value", "SELECT ?", ErrorKind::bug},
        Case{"a string in double quotes", "SELECT \"a string\"", ErrorKind::bug},
        Case{"another database", "ATTACH 'other.db' AS other", ErrorKind::bug}}) {
    SUBCASE(row.name) {
      const auto outcome = database.run(row.sql);
      REQUIRE_FALSE(outcome);
      CHECK(outcome.error().kind == row.kind);
      CHECK(count_items(database) == 1);
    }
  }
}

TEST_CASE("store: a full disk is a matter of resources, and the transaction is undone") {
  const test::TemporaryFolder folder;
  auto database = open_items(folder / "a.db");
  REQUIRE(database.run("INSERT INTO items(name) VALUES('kept')"));
  const auto pages = database.integer("PRAGMA page_count").value().value_or(0);
  REQUIRE(database.integer(fmt::format("PRAGMA max_page_count={}", pages + 8)));
  const auto outcome = database.transaction([&]() -> Result<> {
    for (int i = 0; i < 100; ++i) {
      if (auto inserted = database.run("INSERT INTO items(data) VALUES(zeroblob(4096))"); !inserted) {
        return inserted;
      }
    }
    return {};
  });
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::resource);
  CHECK(count_items(database) == 1);
  REQUIRE(database.transaction([&] { return database.run("INSERT INTO items(name) VALUES('still works')"); }));
}

TEST_CASE("store: a database that another connection is writing to is busy, not broken") {
  const test::TemporaryFolder folder;
  auto one = open_items(folder / "a.db");
  auto two = open_items(folder / "a.db");
  REQUIRE(two.integer("PRAGMA busy_timeout=1"));
  REQUIRE(one.transaction([&]() -> Result<> {
    const auto outcome = two.run("INSERT INTO items(name) VALUES('b')");
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().kind == ErrorKind::transient);
    return {};
  }));
  CHECK(two.run("INSERT INTO items(name) VALUES('b')"));
}

TEST_CASE("store: a damaged page is found by check()") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  {
    auto database = open_items(file);
    for (int i = 0; i < 200; ++i) {
      REQUIRE(database.run("INSERT INTO items(name, data) VALUES(?, zeroblob(500))", {std::to_string(i)}));
    }
  }
  {
    std::fstream raw(file, std::ios::in | std::ios::out | std::ios::binary);
    // Page 2 on: the b-tree pages; the header on page 1 stays, so that it opens.
    raw.seekp(4096);
    raw << std::string(3 * 4096, '\x5a');
  }
  auto database = Database::open(file, schema);
  REQUIRE(database);
  const auto outcome = database->check();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::corrupt);
}

// The superuser may write everywhere, so the attempt is made by a child that gave its rights up.
TEST_CASE("store: a file this user may not write is denied") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  {
    auto database = open_items(file);
  }
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0555});
  std::filesystem::permissions(file, std::filesystem::perms{0444});
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) {
      ::_exit(100);
    }
    const auto opened = Database::open(file, schema);
    ::_exit(opened ? 101 : static_cast<int>(opened.error().kind));
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0755});
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == static_cast<int>(ErrorKind::denied));
}

TEST_CASE("store: a folder that does not exist is permanent") {
  const test::TemporaryFolder folder;
  const auto opened = Database::open(folder / "no" / "a.db", schema);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().kind == ErrorKind::permanent);
}

}  // namespace
}  // namespace flops::store
