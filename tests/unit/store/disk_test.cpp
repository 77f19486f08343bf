// Every write of a small history is once the one at which the power goes, or the disk is full.
#include "flops/test/disk.hpp"
#include "fixture.hpp"

namespace flops::store {
namespace {

struct History {
  std::int64_t committed = 0;  // transactions
  std::int64_t durable = 0;    // of these, up to the last that was synced
  std::optional<Error> error;
};

constexpr std::int64_t transactions = 8;

Result<Database> open_on(const test::Disk& disk, const std::filesystem::path& file, Journal journal) {
  OpenOptions options;
  options.vfs = disk.name();
  options.journal = journal;
  options.checkpoint_pages = 6;  // some in the middle
  options.cache_kib = 8;         // some pages are written before their commit
  return Database::open(file, schema, options);
}

// Transactions of two rows, from the n-th on; every third one waits for the disk.
History write_history(Database& database, Journal journal, std::int64_t first = 1) {
  History history{first - 1, 0, std::nullopt};
  for (std::int64_t n = first; n <= transactions; ++n) {
    const auto durability = n % 3 == 0 ? Durability::full : Durability::normal;
    const auto done = database.transaction(
        [&]() -> Result<> {
          auto one = database.run("INSERT INTO items(id, data) VALUES(?, zeroblob(3000))", {2 * n});
          return one ? database.run("INSERT INTO items(id, data) VALUES(?, zeroblob(3000))", {2 * n + 1}) : one;
        },
        durability);
    if (!done) {
      history.error = done.error();
      return history;
    }
    history.committed = n;
    // A rollback journal makes every commit wait.
    const bool waits = durability == Durability::full || journal == Journal::rollback;
    history.durable = waits ? n : history.durable;
  }
  const auto synced = database.sync();
  const auto copied = synced ? database.checkpoint() : synced;
  if (!copied) {
    history.error = copied.error();
  } else {
    history.durable = history.committed;
  }
  return history;
}

// Whole transactions without a gap, at least so many.
void check_history(Database& database, std::int64_t at_least, std::int64_t at_most) {
  REQUIRE(database.check());
  const std::int64_t rows = count_items(database);
  CHECK(rows % 2 == 0);
  CHECK(rows >= 2 * at_least);
  CHECK(rows <= 2 * at_most);
  CHECK(database.integer("SELECT COALESCE(max(id), 1) FROM items").value() == rows + 1);
}

TEST_CASE("store: whenever the power goes, what was synced is there and the rest is a whole beginning") {
  Journal journal = Journal::write_ahead;
  SUBCASE("write-ahead log") {}
  SUBCASE("rollback journal") {
    journal = Journal::rollback;
  }
  test::Disk disk("power");
  std::uint64_t cuts = 0;
  for (bool finished = false; !finished; ++cuts) {
    for (const std::uint64_t seed : {std::uint64_t{0}, cuts + 1}) {
      const test::TemporaryFolder folder;
      CAPTURE(cuts);
      CAPTURE(seed);
      History history;
      {
        disk.power_cut_at(cuts + 1);
        auto database = open_on(disk, folder / "a.db", journal);
        if (database) {
          history = write_history(*database, journal);
          finished = !history.error;
        }
      }
      disk.power_on(seed);
      auto after = open_on(disk, folder / "a.db", journal);
      REQUIRE_MESSAGE(after, after.error().what);
      // The last transaction may have reached the disk without the answer reaching us.
      check_history(*after, history.durable, history.committed + 1);
      after = fail(ErrorKind::cancelled, "closed");
      disk.power_on(0);
    }
  }
  CHECK(cuts > 60);
}

TEST_CASE("store: whenever the disk is full, that is said, nothing committed is lost, and with room it goes on") {
  Journal journal = Journal::write_ahead;
  SUBCASE("write-ahead log") {}
  SUBCASE("rollback journal") {
    journal = Journal::rollback;
  }
  test::Disk disk("full");
  std::uint64_t tries = 0;
  for (bool finished = false; !finished; ++tries) {
    const test::TemporaryFolder folder;
    CAPTURE(tries);
    auto database = open_on(disk, folder / "a.db", journal);
    REQUIRE(database);
    disk.full_at(tries + 1);
    const History history = write_history(*database, journal);
    finished = !history.error;
    if (!finished) {
      CHECK_MESSAGE(history.error->kind == ErrorKind::resource, history.error->what);
      disk.heal();
      const std::int64_t there = count_items(*database) / 2;
      CHECK(there >= history.committed);
      // With a rollback journal the last sync can fail when the transaction is done.
      CHECK(there <= history.committed + (journal == Journal::rollback ? 1 : 0));
      const History rest = write_history(*database, journal, there + 1);
      REQUIRE_MESSAGE(!rest.error, rest.error->what);
    }
    check_history(*database, transactions, transactions);
    database = fail(ErrorKind::cancelled, "closed");
    disk.power_on(0);
  }
  CHECK(tries > 40);
}

}  // namespace
}  // namespace flops::store
