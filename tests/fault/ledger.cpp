#include "ledger.hpp"

#include <functional>
#include <memory>

#include <sqlite3.h>

#include "flops/core/file.hpp"

namespace flops::faults {
namespace {

namespace fs = std::filesystem;

struct Close {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Handle = std::unique_ptr<sqlite3, Close>;
using Statement = std::unique_ptr<sqlite3_stmt, Close>;

std::string text(sqlite3_stmt* row, int column) {
  const auto* const bytes = sqlite3_column_blob(row, column);
  const auto count = static_cast<std::size_t>(sqlite3_column_bytes(row, column));
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), count);
}

Result<> each(sqlite3* db, const std::string& sql, const std::function<void(sqlite3_stmt*)>& row) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK) {
    return fail(ErrorKind::corrupt, "{}: {}", sql, sqlite3_errmsg(db));
  }
  const Statement statement(raw);
  int step = sqlite3_step(raw);
  for (; step == SQLITE_ROW; step = sqlite3_step(raw)) {
    row(raw);
  }
  return step == SQLITE_DONE ? Result<>() : fail(ErrorKind::corrupt, "{}: {}", sql, sqlite3_errmsg(db));
}

// A copy may replay its log or its journal, which a read-only opened original may not.
Result<Handle> open_copy(const fs::path& database, const fs::path& scratch) {
  std::error_code error;
  fs::remove_all(scratch, error);
  if (auto made = make_folder(scratch); !made) {
    return fail(made.error());
  }
  const fs::path copy = scratch / database.filename();
  fs::copy_file(database, copy, error);
  if (error) {
    return fail(errno_error(error.value(), fmt::format("copying {}", database.string())));
  }
  for (const char* suffix : {"-wal", "-journal"}) {
    if (fs::exists(database.string() + suffix)) {
      fs::copy_file(database.string() + suffix, copy.string() + suffix, error);
    }
  }
  sqlite3* raw = nullptr;
  const int opened = sqlite3_open_v2(copy.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  Handle db(raw);
  if (opened != SQLITE_OK) {
    return fail(ErrorKind::corrupt, "{}: {}", copy.string(), sqlite3_errmsg(raw));
  }
  std::string verdict;
  auto checked = each(raw, "PRAGMA integrity_check", [&](sqlite3_stmt* row) { verdict += text(row, 0) + "\n"; });
  if (!checked) {
    return fail(checked.error(), database.string());
  }
  if (verdict != "ok\n") {
    return fail(ErrorKind::corrupt, "{}: integrity_check: {}", database.string(), verdict);
  }
  return db;
}

}  // namespace

Result<CoordinatorLedger> read_coordinator(const fs::path& database, const fs::path& scratch) {
  auto db = open_copy(database, scratch);
  if (!db) {
    return fail(db.error());
  }
  CoordinatorLedger ledger;
  auto read = each(db->get(), "SELECT run, cluster, round, device, task, blob, bytes, local_rounds FROM contributions",
                   [&](sqlite3_stmt* row) {
                     ledger.contributions.push_back({text(row, 0), text(row, 1), sqlite3_column_int64(row, 2),
                                                     text(row, 3), text(row, 4), text(row, 5),
                                                     sqlite3_column_int64(row, 6), sqlite3_column_int64(row, 7)});
                   });
  if (read) {
    read = each(db->get(), "SELECT run, cluster, round, state, model FROM rounds ORDER BY run, cluster, round",
                [&](sqlite3_stmt* row) {
                  ledger.rounds.push_back(
                      {text(row, 0), text(row, 1), sqlite3_column_int64(row, 2), text(row, 3), text(row, 4)});
                });
  }
  if (read) {
    read = each(db->get(), "SELECT run, cycle, cluster FROM handed_up", [&](sqlite3_stmt* row) {
      ledger.handed_up.push_back({text(row, 0), sqlite3_column_int64(row, 1), text(row, 2)});
    });
  }
  return read ? Result<CoordinatorLedger>(std::move(ledger)) : fail(read.error());
}

Result<AgentLedger> read_agent(const fs::path& database, const fs::path& scratch) {
  if (auto contents = open_copy(database.parent_path() / "contents.db", scratch); !contents) {
    return fail(contents.error());
  }
  auto db = open_copy(database, scratch);
  if (!db) {
    return fail(db.error());
  }
  AgentLedger ledger;
  auto read = each(db->get(), "SELECT id, phase, result IS NOT NULL FROM tasks", [&](sqlite3_stmt* row) {
    ledger.tasks.push_back({text(row, 0), text(row, 1), sqlite3_column_int(row, 2) != 0});
  });
  if (read) {
    read = each(db->get(), "SELECT id FROM finished", [&](sqlite3_stmt* row) { ledger.finished.insert(text(row, 0)); });
  }
  return read ? Result<AgentLedger>(std::move(ledger)) : fail(read.error());
}

}  // namespace flops::faults
