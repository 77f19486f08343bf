#include "connection.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace flops::store {
namespace {

ErrorKind kind_of(int code, int system_errno) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM: return ErrorKind::resource;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorKind::corrupt;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT: return ErrorKind::transient;
    case SQLITE_IOERR: return code == SQLITE_IOERR_NOMEM ? ErrorKind::resource : ErrorKind::transient;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return ErrorKind::denied;
    case SQLITE_CANTOPEN:
      return system_errno == EACCES || system_errno == EPERM || system_errno == EROFS ? ErrorKind::denied
                                                                                      : ErrorKind::permanent;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG: return ErrorKind::permanent;
    default: return ErrorKind::bug;
  }
}

int bind_text(sqlite3_stmt* statement, int index, std::string_view text) {
  // A null pointer would bind NULL, not the empty text.
  const char* data = text.data() != nullptr ? text.data() : "";
  return sqlite3_bind_text64(statement, index, data, text.size(), nullptr, SQLITE_UTF8);
}

int bind_bytes(sqlite3_stmt* statement, int index, std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return sqlite3_bind_zeroblob(statement, index, 0);
  }
  return sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), nullptr);
}

int bind_value(sqlite3_stmt* statement, int index, const Value& value) {
  struct Binder {
    sqlite3_stmt* statement;
    int index;
    int operator()(std::monostate) const { return sqlite3_bind_null(statement, index); }
    int operator()(std::int64_t number) const { return sqlite3_bind_int64(statement, index, number); }
    int operator()(double number) const { return sqlite3_bind_double(statement, index, number); }
    int operator()(std::string_view text) const { return bind_text(statement, index, text); }
    int operator()(std::span<const std::byte> bytes) const { return bind_bytes(statement, index, bytes); }
  };
  return std::visit(Binder{statement, index}, value.get());
}

}  // namespace

Error sql_error(sqlite3* db, int code, std::string_view doing) {
  const int system_errno = db != nullptr ? sqlite3_system_errno(db) : 0;
  const char* words = db != nullptr && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  const int primary = code & 0xff;
  const bool of_system = system_errno != 0 && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN);
  return {kind_of(code, system_errno), fmt::format("{}: {} (SQLite {}{}{})", doing, words, code, of_system ? ", " : "",
                                                   of_system ? std::generic_category().message(system_errno) : "")};
}

Database::State::~State() {
  drop_statements();
  if (db != nullptr) {
    // Best effort: what stays in the write-ahead log is read at the next open.
    sqlite3_wal_checkpoint_v2(db, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    sqlite3_close_v2(db);
  }
}

void Database::State::drop_statements() {
  for (const Cached& cached : cache) {
    sqlite3_finalize(cached.statement);
  }
  cache.clear();
}

Result<sqlite3_stmt*> Database::State::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  const int code =
      sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement, &tail);
  if (code != SQLITE_OK) {
    return fail(sql_error(db, code, fmt::format("preparing '{}'", sql)));
  }
  const auto rest = sql.substr(static_cast<std::size_t>(tail - sql.data()));
  if (statement == nullptr || rest.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
    sqlite3_finalize(statement);
    return fail(ErrorKind::bug, "'{}' must be exactly one SQL statement", sql);
  }
  return statement;
}

Result<> Database::State::bind(sqlite3_stmt* statement, std::string_view sql, Values values) {
  const auto wanted = static_cast<std::size_t>(sqlite3_bind_parameter_count(statement));
  if (wanted != values.size()) {
    return fail(ErrorKind::bug, "'{}' takes {} values and got {}", sql, wanted, values.size());
  }
  int index = 0;
  for (const Value& value : values) {
    if (const int code = bind_value(statement, ++index, value); code != SQLITE_OK) {
      return fail(sql_error(db, code, fmt::format("binding value {} of '{}'", index, sql)));
    }
  }
  return {};
}

Result<Database::State::Cached> Database::State::borrow(std::string_view sql, Values values) {
  Cached cached;
  const auto found = std::ranges::find(cache, sql, &Cached::sql);
  if (found != cache.end()) {
    cached = std::move(*found);
    cache.erase(found);
  } else {
    auto prepared = prepare(sql);
    if (!prepared) {
      return fail(std::move(prepared.error()));
    }
    cached = {std::string(sql), *prepared};
  }
  if (auto bound = bind(cached.statement, sql, values); !bound) {
    give_back(std::move(cached));
    return fail(std::move(bound.error()));
  }
  return cached;
}

void Database::State::give_back(Cached cached) {
  sqlite3_reset(cached.statement);
  sqlite3_clear_bindings(cached.statement);
  cache.push_front(std::move(cached));
  if (cache.size() > max_cached) {
    sqlite3_finalize(cache.back().statement);
    cache.pop_back();
  }
}

Result<> Database::State::script(const char* sql, std::string_view doing) {
  if (const int code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr); code != SQLITE_OK) {
    return fail(sql_error(db, code, doing));
  }
  return {};
}

Result<> Database::State::synchronize(Durability how) {
  how = always_full ? Durability::full : how;
  if (synchronized_ == how) {
    return {};
  }
  const char* sql = how == Durability::full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
  if (auto set = script(sql, "setting how commits are synced"); !set) {
    return set;
  }
  synchronized_ = how;
  return {};
}

}  // namespace flops::store
