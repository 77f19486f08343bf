#include <array>
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "fixture.hpp"
#include "flops/core/fd.hpp"

namespace flops::store {
namespace {

// Commits transactions of two rows each until it is killed, and tells the parent after every commit.
[[noreturn]] void write_forever(const std::filesystem::path& file, int report) {
  auto database = Database::open(file, schema);
  if (!database) {
    ::_exit(1);
  }
  for (std::int64_t n = 1;; ++n) {
    const auto outcome = database->transaction([&]() -> Result<> {
      if (auto first = database->run("INSERT INTO items(id, data) VALUES(?, zeroblob(2000))", {2 * n}); !first) {
        return first;
      }
      return database->run("INSERT INTO items(id, data) VALUES(?, zeroblob(2000))", {2 * n + 1});
    });
    if (!outcome || ::write(report, &n, sizeof n) != sizeof n) {
      ::_exit(2);
    }
  }
}

TEST_CASE("store: after kill -9 every transaction that was reported committed is there, and no half one") {
  const test::TemporaryFolder folder;
  const auto file = folder / "a.db";
  std::int64_t committed = 0;
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    write_forever(file, writing.get());
  }
  writing.reset();
  while (committed < 300) {
    REQUIRE(::read(reading.get(), &committed, sizeof committed) == sizeof committed);
  }
  REQUIRE(::kill(child, SIGKILL) == 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  // Reports that were still in the pipe count as well.
  for (std::int64_t n = 0; ::read(reading.get(), &n, sizeof n) == sizeof n;) {
    committed = n;
  }

  auto database = open_items(file);
  REQUIRE(database.check());
  const auto rows = count_items(database);
  CHECK(rows % 2 == 0);
  CHECK(rows >= 2 * committed);
  // At most the transaction that was committed and not yet reported.
  CHECK(rows <= 2 * (committed + 1));
  CHECK(database.integer("SELECT max(id) FROM items").value() == rows + 1);
}

}  // namespace
}  // namespace flops::store
