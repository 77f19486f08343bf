// What a Database holds: the SQLite connection, its cache of prepared statements, and the translation of SQLite's
// result codes into our kinds of error.
#pragma once

#include <filesystem>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include "flops/store/database.hpp"

namespace flops::store {

// SQLite's last error on `db`, told as "doing: SQLite's words". `code` is the (extended) result code.
[[nodiscard]] Error sql_error(sqlite3* db, int code, std::string_view doing);

// The connection. Statements are lent out one by one, so that a query inside the callback of the same query works.
struct Database::State {
  struct Cached {
    std::string sql;
    sqlite3_stmt* statement = nullptr;
  };
  static constexpr std::size_t max_cached = 48;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  // Takes a statement out of the cache or prepares it, and binds the values. bug: bad SQL, more than one statement,
  // or another number of values than of placeholders.
  [[nodiscard]] Result<Cached> borrow(std::string_view sql, Values values);
  void give_back(Cached cached);
  void drop_statements();
  // Runs any number of statements without values or results.
  [[nodiscard]] Result<> script(const char* sql, std::string_view doing);
  // BEGIN, body, COMMIT or ROLLBACK.
  [[nodiscard]] Result<> commit(const std::function<Result<>()>& body);
  // How much the next commits wait for the disk.
  [[nodiscard]] Result<> synchronize(Durability how);

  sqlite3* db = nullptr;
  std::filesystem::path file;
  std::list<Cached> cache;  // most recently used first
  bool in_transaction = false;
  Durability durability = Durability::full;  // of a commit that asks for nothing else
  bool always_full = false;                  // whatever a commit asks for

 private:
  [[nodiscard]] Result<sqlite3_stmt*> prepare(std::string_view sql);
  [[nodiscard]] Result<> bind(sqlite3_stmt* statement, std::string_view sql, Values values);

  std::optional<Durability> synchronized_;  // what the connection is set to
};

}  // namespace flops::store
