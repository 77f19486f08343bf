// Opening: flags, pragmas, migrations.
#include "connection.hpp"
#include "counted_vfs.hpp"

namespace flops::store {
namespace {

constexpr int busy_timeout_ms = 5000;

// Settings that hold for this connection only and so are set at every open.
Result<> configure(Database::State& state, const OpenOptions& options) {
  sqlite3* db = state.db;
  sqlite3_busy_timeout(db, busy_timeout_ms);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  // "text" in double quotes is a column or an error, never silently a string.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
  // Debian's SQLite overwrites what is deleted with zeros unless it is told not to: long values would be written once
  // more.
  const std::string pragmas = fmt::format(
      "PRAGMA page_size={}; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA "
      "cache_size=-{};"
      "PRAGMA secure_delete=OFF; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON; PRAGMA journal_size_limit={}; "
      "PRAGMA wal_autocheckpoint={};",
      options.page_bytes, options.cache_kib, options.wal_limit_bytes, options.checkpoint_pages);
  if (auto done = state.script(pragmas.c_str(), "configuring"); !done) {
    return done;
  }
  state.durability = options.durability;
  // Else the next transaction could write over the journal of one whose end is not on the disk yet: after a power cut a
  // part of that would be rolled back.
  state.always_full = options.journal == Journal::rollback;
  return state.synchronize(options.durability);
}

// The mode of a write-ahead log is stored in the file; this is also the first access that reads it.
Result<> enter_journal(Database& database, Journal journal) {
  const bool ahead = journal == Journal::write_ahead;
  // A journal that keeps its file costs the file system less than one that is deleted after every commit.
  auto mode = database.text(ahead ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=PERSIST");
  if (!mode) {
    return fail(std::move(mode.error()));
  }
  if (*mode != (ahead ? "wal" : "persist")) {
    return fail(ErrorKind::permanent, "{} is not possible on this file system (journal mode '{}')",
                ahead ? "write-ahead logging" : "a rollback journal", mode->value_or(""));
  }
  return {};
}

Result<> migrate_one(Database& database, Database::State& state, std::string_view sql, std::size_t version) {
  return database.transaction([&]() -> Result<> {
    if (auto done = state.script(std::string(sql).c_str(), "running it"); !done) {
      return done;
    }
    if (sqlite3_get_autocommit(state.db) != 0) {
      return fail(ErrorKind::bug, "it ends its own transaction");
    }
    return state.script(fmt::format("PRAGMA user_version={}", version).c_str(), "recording the version");
  });
}

Result<> migrate(Database& database, Database::State& state, std::span<const std::string_view> migrations) {
  auto version = database.integer("PRAGMA user_version");
  if (!version) {
    return fail(std::move(version.error()));
  }
  const std::int64_t at = version->value_or(0);
  if (at < 0 || static_cast<std::uint64_t>(at) > migrations.size()) {
    return fail(ErrorKind::permanent, "its schema version is {}, this program knows up to {}: install a newer version",
                at, migrations.size());
  }
  for (auto next = static_cast<std::size_t>(at); next < migrations.size(); ++next) {
    if (auto done = migrate_one(database, state, migrations[next], next + 1); !done) {
      return fail(done.error(), fmt::format("migration {}", next + 1));
    }
  }
  // Compiled against a schema that has changed since.
  state.drop_statements();
  return {};
}

Result<> connect(Database::State& state, const OpenOptions& options) {
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  auto counted = counted_vfs();
  if (!counted) {
    return fail(std::move(counted.error()));
  }
  const char* vfs = options.vfs.empty() ? *counted : options.vfs.c_str();
  const int code = sqlite3_open_v2(state.file.c_str(), &state.db, flags, vfs);
  if (code != SQLITE_OK) {
    return fail(sql_error(state.db, code, "opening"));
  }
  // SQLite falls back to reading when it may not write.
  if (sqlite3_db_readonly(state.db, "main") == 1) {
    return fail(ErrorKind::denied, "the file is read-only for this user");
  }
  return configure(state, options);
}

}  // namespace

Result<Database> Database::open(const std::filesystem::path& file, std::span<const std::string_view> migrations,
                                const OpenOptions& options) {
  const auto context = [&] { return fmt::format("database {}", file.string()); };
  auto state = std::make_unique<State>();
  State& raw = *state;
  raw.file = file;
  Database database(std::move(state));
  if (auto connected = connect(raw, options); !connected) {
    return fail(connected.error(), context());
  }
  if (auto entered = enter_journal(database, options.journal); !entered) {
    return fail(entered.error(), context());
  }
  if (auto migrated = migrate(database, raw, migrations); !migrated) {
    return fail(migrated.error(), context());
  }
  return database;
}

}  // namespace flops::store
