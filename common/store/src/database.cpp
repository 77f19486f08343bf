#include "flops/store/database.hpp"

#include <filesystem>

#include "connection.hpp"

namespace flops::store {
namespace {

// Gives a borrowed statement back however the scope ends.
class Loan {
 public:
  Loan(Database::State& state, Database::State::Cached cached) : state_(state), cached_(std::move(cached)) {}
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() { state_.give_back(std::move(cached_)); }
  [[nodiscard]] sqlite3_stmt* statement() const { return cached_.statement; }
  // True: a row is there. False: the end.
  [[nodiscard]] Result<bool> step() {
    const int code = sqlite3_step(cached_.statement);
    if (code == SQLITE_ROW) {
      return true;
    }
    if (code == SQLITE_DONE) {
      return false;
    }
    return fail(sql_error(state_.db, code, fmt::format("running '{}'", cached_.sql)));
  }

 private:
  Database::State& state_;
  Database::State::Cached cached_;
};

sqlite3_stmt* native(void* statement) {
  return static_cast<sqlite3_stmt*>(statement);
}

}  // namespace

bool Row::is_null(int column) const {
  return sqlite3_column_type(native(statement_), column) == SQLITE_NULL;
}
std::int64_t Row::integer(int column) const {
  return sqlite3_column_int64(native(statement_), column);
}
double Row::number(int column) const {
  return sqlite3_column_double(native(statement_), column);
}

std::string Row::text(int column) const {
  // As a blob: the bytes as they are stored, embedded zeros included.
  const auto stored = bytes(column);
  std::string text(stored.size(), '\0');
  for (std::size_t i = 0; i < stored.size(); ++i) {
    text[i] = static_cast<char>(stored[i]);
  }
  return text;
}

std::span<const std::byte> Row::bytes(int column) const {
  const void* data = sqlite3_column_blob(native(statement_), column);
  const int size = sqlite3_column_bytes(native(statement_), column);
  return data == nullptr ? std::span<const std::byte>()
                         : std::span(static_cast<const std::byte*>(data), static_cast<std::size_t>(size));
}

Database::Database(std::unique_ptr<State> state) : state_(std::move(state)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

Result<> Database::run(std::string_view sql, Values values) {
  return each(sql, values, [](const Row&) -> Result<> { return {}; });
}

Result<> Database::each(std::string_view sql, Values values, const std::function<Result<>(const Row&)>& row) {
  auto borrowed = state_->borrow(sql, values);
  if (!borrowed) {
    return fail(std::move(borrowed.error()));
  }
  Loan loan(*state_, std::move(*borrowed));
  while (true) {
    auto more = loan.step();
    if (!more) {
      return fail(std::move(more.error()));
    }
    if (!*more) {
      return {};
    }
    if (auto taken = row(Row(loan.statement())); !taken) {
      return taken;
    }
  }
}

Result<std::optional<std::int64_t>> Database::integer(std::string_view sql, Values values) {
  auto borrowed = state_->borrow(sql, values);
  if (!borrowed) {
    return fail(std::move(borrowed.error()));
  }
  Loan loan(*state_, std::move(*borrowed));
  auto more = loan.step();
  if (!more) {
    return fail(std::move(more.error()));
  }
  const Row row(loan.statement());
  return *more && !row.is_null(0) ? std::optional(row.integer(0)) : std::nullopt;
}

Result<std::optional<std::string>> Database::text(std::string_view sql, Values values) {
  auto borrowed = state_->borrow(sql, values);
  if (!borrowed) {
    return fail(std::move(borrowed.error()));
  }
  Loan loan(*state_, std::move(*borrowed));
  auto more = loan.step();
  if (!more) {
    return fail(std::move(more.error()));
  }
  const Row row(loan.statement());
  return *more && !row.is_null(0) ? std::optional(row.text(0)) : std::nullopt;
}

Result<> Database::transaction(const std::function<Result<>()>& body) {
  return transaction(body, state_->durability);
}

Result<> Database::transaction(const std::function<Result<>()>& body, Durability durability) {
  if (state_->in_transaction) {
    return fail(ErrorKind::bug, "a transaction inside a transaction on {}", state_->file.string());
  }
  if (auto set = state_->synchronize(durability); !set) {
    return set;
  }
  auto outcome = state_->commit(body);
  // Single statements keep the connection's own setting.
  auto reset = state_->synchronize(state_->durability);
  return outcome ? reset : outcome;
}

Result<> Database::sync() {
  auto version = integer("PRAGMA user_version");
  if (!version) {
    return fail(std::move(version.error()));
  }
  // Writes the first page as it is: an empty transaction would have nothing to sync.
  return transaction(
      [&] { return state_->script(fmt::format("PRAGMA user_version={}", version->value_or(0)).c_str(), "syncing"); },
      Durability::full);
}

Result<> Database::State::commit(const std::function<Result<>()>& body) {
  if (auto begun = script("BEGIN IMMEDIATE", "beginning a transaction"); !begun) {
    return begun;
  }
  in_transaction = true;
  auto outcome = body();
  in_transaction = false;
  if (outcome) {
    outcome = script("COMMIT", "committing");
  }
  // Some errors (a full disk) have rolled back already.
  if (!outcome && sqlite3_get_autocommit(db) == 0) {
    if (auto undone = script("ROLLBACK", "rolling back"); !undone) {
      return fail(outcome.error(), undone.error().what);
    }
  }
  return outcome;
}

Result<> Database::checkpoint() {
  const int code = sqlite3_wal_checkpoint_v2(state_->db, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK) {
    return fail(sql_error(state_->db, code, fmt::format("checkpoint of {}", state_->file.string())));
  }
  return {};
}

std::int64_t Database::changes() const {
  return sqlite3_changes64(state_->db);
}
std::int64_t Database::last_row_id() const {
  return sqlite3_last_insert_rowid(state_->db);
}

Result<> Database::check() {
  std::string found;
  auto checked = each("PRAGMA quick_check(10)", {}, [&](const Row& row) -> Result<> {
    if (const std::string line = row.text(0); line != "ok") {
      found += (found.empty() ? "" : "; ") + line;
    }
    return {};
  });
  if (!checked) {
    return checked;
  }
  if (!found.empty()) {
    return fail(ErrorKind::corrupt, "database {}: {}", state_->file.string(), found);
  }
  return {};
}

Result<> Database::check_at_start() {
  constexpr std::uintmax_t largest = 256U << 20U;
  std::error_code error;
  const auto size = std::filesystem::file_size(state_->file, error);
  return error || size > largest ? Result<>() : check();
}

void Database::release_memory() {
  state_->drop_statements();
  sqlite3_db_release_memory(state_->db);
}

}  // namespace flops::store
