// SQLite through one small wrapper: WAL or a rollback journal, foreign keys, forward-only numbered migrations, cached
// prepared statements, one writer.
//
//   auto db = Database::open(path, migrations);
//   db->run("INSERT INTO devices(id, seen) VALUES(?, ?)", {id.str(), unix_ms(now)});
//   db->each("SELECT id FROM devices WHERE seen > ?", {limit}, [&](const Row& row) { names.push_back(row.text(0)); });
//
// Errors: resource (disk full), corrupt (damaged file), transient (busy, I/O error), denied (read-only), permanent
// (constraint), bug (bad SQL). Not thread-safe: a Database belongs to one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::store {

// A value to bind. Text and bytes are not copied: they must live until the call returns.
class Value {
 public:
  Value() = default;  // NULL
  Value(std::nullptr_t) {}
  Value(std::int64_t number) : value_(number) {}
  Value(int number) : value_(static_cast<std::int64_t>(number)) {}
  Value(std::uint32_t number) : value_(static_cast<std::int64_t>(number)) {}
  Value(std::uint64_t number) : value_(static_cast<std::int64_t>(number)) {}
  Value(bool flag) : value_(static_cast<std::int64_t>(flag)) {}
  Value(double number) : value_(number) {}
  Value(std::string_view text) : value_(text) {}
  Value(const std::string& text) : value_(std::string_view(text)) {}
  Value(const char* text) : value_(std::string_view(text)) {}
  Value(std::span<const std::byte> bytes) : value_(bytes) {}
  using Variant = std::variant<std::monostate, std::int64_t, double, std::string_view, std::span<const std::byte>>;
  [[nodiscard]] const Variant& get() const { return value_; }

 private:
  Variant value_;
};
using Values = std::initializer_list<Value>;

// The current row; valid only inside the callback.
class Row {
 public:
  explicit Row(void* statement) : statement_(statement) {}
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double number(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::span<const std::byte> bytes(int column) const;  // valid inside the callback

 private:
  void* statement_;
};

enum class Durability {
  full,    // synchronous=FULL: a commit survives a power cut (default)
  normal,  // synchronous=NORMAL: survives a crash; a power cut may lose the newest commits, never consistency
};

enum class Journal {
  write_ahead,  // one sync a commit, readers never wait; every page is written twice: log, then database (default)
  rollback,     // new pages are written once, changed ones twice; four syncs for every commit: for long values
};

struct OpenOptions {
  Durability durability = Durability::full;
  Journal journal = Journal::write_ahead;
  std::string vfs;                         // empty: SQLite's default, counted by bytes_written()
  std::int64_t cache_kib = 512;            // page cache
  std::int64_t page_bytes = 4096;          // of a new file: a power of two, 512 to 65536; larger ones suit large blobs
  std::int64_t wal_limit_bytes = 4 << 20;  // journal_size_limit
  // Pages in the write-ahead log after which a commit copies them into the database, while its caller waits.
  // 0: never; the caller has quiet moments in which it calls checkpoint().
  int checkpoint_pages = 1000;
};

// What this process has written through SQLite since it started: databases, logs and journals, each write() with all
// its bytes. A device's storage wears out by it. Any thread.
[[nodiscard]] std::uint64_t bytes_written();

class Database {
 public:
  struct State;  // of the implementation

  // migrations[i] brings version i to i + 1 (PRAGMA user_version), each in a transaction of its own. A database
  // newer than the program is `permanent`; a file that is no database is `corrupt`.
  [[nodiscard]] static Result<Database> open(const std::filesystem::path& file,
                                             std::span<const std::string_view> migrations,
                                             const OpenOptions& options = {});
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  [[nodiscard]] Result<> run(std::string_view sql, Values values = {});
  // Calls `row` for each result; an error it returns ends the query and is passed on.
  [[nodiscard]] Result<> each(std::string_view sql, Values values, const std::function<Result<>(const Row&)>& row);
  // First row's first column.
  [[nodiscard]] Result<std::optional<std::int64_t>> integer(std::string_view sql, Values values = {});
  [[nodiscard]] Result<std::optional<std::string>> text(std::string_view sql, Values values = {});

  // BEGIN IMMEDIATE, body, COMMIT; ROLLBACK when the body or the commit fails. Must not nest. A commit with
  // Durability::normal becomes durable with the next full one: for what may be done again after a power cut. With
  // Journal::rollback a commit whose very last sync fails has happened although it reports an error: do again only what
  // may be done twice.
  [[nodiscard]] Result<> transaction(const std::function<Result<>()>& body);
  [[nodiscard]] Result<> transaction(const std::function<Result<>()>& body, Durability durability);
  // Returns when everything committed so far is on the disk.
  [[nodiscard]] Result<> sync();
  // Copies the write-ahead log into the database, as far as readers allow, and syncs both.
  [[nodiscard]] Result<> checkpoint();

  [[nodiscard]] std::int64_t changes() const;  // rows the last run() changed
  [[nodiscard]] std::int64_t last_row_id() const;

  // Incremental access to one BLOB value, so that large values are never whole in memory.
  [[nodiscard]] Result<> read_blob(std::string_view table, std::string_view column, std::int64_t row_id,
                                   std::uint64_t offset, std::span<std::byte> into);
  [[nodiscard]] Result<> write_blob(std::string_view table, std::string_view column, std::int64_t row_id,
                                    std::uint64_t offset, std::span<const std::byte> from);

  [[nodiscard]] Result<> check();  // PRAGMA quick_check: corrupt with SQLite's words
  // For the start of a program: damage shows there, and not in the middle of the work. A file above 256 MiB is not
  // looked at: that would take minutes on a card.
  [[nodiscard]] Result<> check_at_start();
  // A consistent copy while the database is in use.
  [[nodiscard]] Result<> backup(const std::filesystem::path& file);
  void release_memory();  // gives cached pages back to the system

 private:
  explicit Database(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace flops::store
