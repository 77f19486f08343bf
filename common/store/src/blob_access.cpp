// Incremental reading and writing of one BLOB value. https://www.sqlite.org/c3ref/blob_open.html
#include "connection.hpp"

namespace flops::store {
namespace {

class OpenBlob {
 public:
  OpenBlob(const OpenBlob&) = delete;
  OpenBlob& operator=(const OpenBlob&) = delete;
  OpenBlob() = default;
  ~OpenBlob() { sqlite3_blob_close(blob_); }

  // permanent: no such row, or it ends before offset + size.
  [[nodiscard]] Result<> open(Database::State& state, std::string_view table, std::string_view column,
                              std::int64_t row_id, bool write) {
    where_ = fmt::format("{}.{} of row {}", table, column, row_id);
    const int code = sqlite3_blob_open(state.db, "main", std::string(table).c_str(), std::string(column).c_str(),
                                       row_id, write ? 1 : 0, &blob_);
    if (code == SQLITE_OK) {
      return {};
    }
    Error error = sql_error(state.db, code, where_);
    // SQLite has no code of its own for a row that does not exist or holds no blob.
    if (code == SQLITE_ERROR) {
      error.kind = ErrorKind::permanent;
    }
    return fail(std::move(error));
  }

  [[nodiscard]] Result<> covers(std::uint64_t offset, std::size_t size) const {
    const auto bytes = static_cast<std::uint64_t>(sqlite3_blob_bytes(blob_));
    if (size > bytes || offset > bytes - size) {
      return fail(ErrorKind::permanent, "{} has {} bytes; {} at {} were asked for", where_, bytes, size, offset);
    }
    return {};
  }

  [[nodiscard]] sqlite3_blob* get() const { return blob_; }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  sqlite3_blob* blob_ = nullptr;
  std::string where_;
};

}  // namespace

Result<> Database::read_blob(std::string_view table, std::string_view column, std::int64_t row_id, std::uint64_t offset,
                             std::span<std::byte> into) {
  OpenBlob blob;
  if (auto opened = blob.open(*state_, table, column, row_id, false); !opened) {
    return opened;
  }
  if (auto covered = blob.covers(offset, into.size()); !covered) {
    return covered;
  }
  const int code = sqlite3_blob_read(blob.get(), into.data(), static_cast<int>(into.size()), static_cast<int>(offset));
  if (code != SQLITE_OK) {
    return fail(sql_error(state_->db, code, "reading " + blob.where()));
  }
  return {};
}

Result<> Database::write_blob(std::string_view table, std::string_view column, std::int64_t row_id,
                              std::uint64_t offset, std::span<const std::byte> from) {
  OpenBlob blob;
  if (auto opened = blob.open(*state_, table, column, row_id, true); !opened) {
    return opened;
  }
  if (auto covered = blob.covers(offset, from.size()); !covered) {
    return covered;
  }
  const int code = sqlite3_blob_write(blob.get(), from.data(), static_cast<int>(from.size()), static_cast<int>(offset));
  if (code != SQLITE_OK) {
    return fail(sql_error(state_->db, code, "writing " + blob.where()));
  }
  return {};
}

}  // namespace flops::store
