// A consistent copy of a database in use. https://www.sqlite.org/backup.html
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

#include "connection.hpp"
#include "flops/core/fd.hpp"

namespace flops::store {
namespace {

// Copies every page in one step: the reading transaction makes the copy consistent, and pages go from file to file
// through a cache of fixed size.
Result<> copy_into(sqlite3* source, const std::filesystem::path& file) {
  sqlite3* target = nullptr;
  int code = sqlite3_open_v2(file.c_str(), &target,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                             nullptr);
  if (code == SQLITE_OK) {
    if (sqlite3_backup* backup = sqlite3_backup_init(target, "main", source, "main"); backup != nullptr) {
      sqlite3_backup_step(backup, -1);
      code = sqlite3_backup_finish(backup);
    } else {
      code = sqlite3_extended_errcode(target);
    }
  }
  Result<> outcome;
  if (code != SQLITE_OK) {
    outcome = fail(sql_error(target, code, fmt::format("copying the database to {}", file.string())));
  }
  sqlite3_close_v2(target);
  return outcome;
}

Result<> put_in_place(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("renaming {} to {}", from.string(), to.string())));
  }
  const std::filesystem::path folder = to.has_parent_path() ? to.parent_path() : ".";
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return fail(errno_error(errno, fmt::format("syncing folder {}", folder.string())));
  }
  return {};
}

}  // namespace

Result<> Database::backup(const std::filesystem::path& file) {
  const std::filesystem::path beside = file.string() + ".new";
  std::error_code ignored;
  // What an interrupted backup left is no start for this one.
  std::filesystem::remove(beside, ignored);
  auto outcome = copy_into(state_->db, beside);
  if (outcome) {
    outcome = put_in_place(beside, file);
  }
  if (!outcome) {
    std::filesystem::remove(beside, ignored);
  }
  return outcome;
}

}  // namespace flops::store
