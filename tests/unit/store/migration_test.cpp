#include <fstream>
#include <string>
#include <vector>

#include "fixture.hpp"

namespace flops::store {
namespace {

using Migrations = std::vector<std::string_view>;

TEST_CASE("store: an old database is brought up step by step and keeps its data") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  Migrations migrations = {"CREATE TABLE t(a INTEGER)"};
  {
    auto first = Database::open(file, migrations);
    REQUIRE(first);
    REQUIRE(first->run("INSERT INTO t VALUES(41)"));
  }
  migrations.emplace_back("ALTER TABLE t ADD COLUMN b INTEGER NOT NULL DEFAULT 0; UPDATE t SET b = a + 1");
  migrations.emplace_back("CREATE INDEX t_b ON t(b)");
  auto third = Database::open(file, migrations);
  REQUIRE(third);
  CHECK(third->integer("SELECT b FROM t").value() == 42);
  CHECK(third->integer("PRAGMA user_version").value() == 3);
}

TEST_CASE("store: a failing migration changes nothing, and the next open tries it again") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  const Migrations broken = {"CREATE TABLE t(a)", "CREATE TABLE u(a); INSERT INTO nowhere VALUES(1)"};
  const auto opened = Database::open(file, broken);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().kind == ErrorKind::bug);
  CHECK(opened.error().what.find("migration 2") != std::string::npos);

  const Migrations repaired = {"CREATE TABLE t(a)", "CREATE TABLE u(a)"};
  auto again = Database::open(file, repaired);
  REQUIRE(again);
  CHECK(again->integer("PRAGMA user_version").value() == 2);
}

TEST_CASE("store: a migration that ends its own transaction is a bug") {
  const test::TemporaryFolder folder;
  const Migrations migrations = {"CREATE TABLE t(a); COMMIT"};
  const auto opened = Database::open(folder / "a.db", migrations);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().kind == ErrorKind::bug);
}

TEST_CASE("store: a database of a newer program is refused") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  {
    const Migrations two = {"CREATE TABLE t(a)", "CREATE TABLE u(a)"};
    REQUIRE(Database::open(file, two));
  }
  const Migrations one = {"CREATE TABLE t(a)"};
  const auto opened = Database::open(file, one);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().kind == ErrorKind::permanent);
  CHECK(opened.error().what.find("newer version") != std::string::npos);
}

TEST_CASE("store: a file that is no database is corrupt") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  std::ofstream(file) << std::string(10'000, 'x');
  const auto opened = Database::open(file, schema);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().kind == ErrorKind::corrupt);
  CHECK(opened.error().what.find(file.string()) != std::string::npos);
}

}  // namespace
}  // namespace flops::store
