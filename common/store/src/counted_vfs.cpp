// A file of the default VFS gets a copy of its own table of methods with another xWrite. The copy and the original
// stand behind the default VFS's part of the file, so that every other method runs untouched.
// https://sqlite.org/vfs.html
#include "counted_vfs.hpp"

#include <atomic>
#include <new>

#include <sqlite3.h>

#include "flops/store/database.hpp"

namespace flops::store {
namespace {

constexpr const char* name = "flops-counted";

std::atomic<std::uint64_t> written{0};

struct Tail {
  const sqlite3_io_methods* original = nullptr;
  sqlite3_io_methods counted{};
};

// One for the process, registered once: SQLite keeps the pointer.
struct CountedVfs : sqlite3_vfs {
  sqlite3_vfs* underlying = nullptr;
  std::size_t tail_at = 0;  // in a file
};
CountedVfs& counted() {
  static CountedVfs vfs;
  return vfs;
}

Tail& tail_of(sqlite3_file* file) {
  return *std::launder(reinterpret_cast<Tail*>(reinterpret_cast<std::byte*>(file) + counted().tail_at));
}

int write(sqlite3_file* file, const void* data, int bytes, sqlite3_int64 offset) {
  const int code = tail_of(file).original->xWrite(file, data, bytes, offset);
  if (code == SQLITE_OK) {
    written.fetch_add(static_cast<std::uint64_t>(bytes), std::memory_order_relaxed);
  }
  return code;
}

int open(sqlite3_vfs*, sqlite3_filename path, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* underlying = counted().underlying;
  if (underlying == nullptr) {
    return SQLITE_CANTOPEN;
  }
  const int code = underlying->xOpen(underlying, path, file, flags, out_flags);
  if (code == SQLITE_OK && file->pMethods != nullptr) {
    auto* tail = new (reinterpret_cast<std::byte*>(file) + counted().tail_at) Tail;
    tail->original = file->pMethods;
    tail->counted = *file->pMethods;
    tail->counted.xWrite = write;
    file->pMethods = &tail->counted;
  }
  return code;
}

int enlist() {
  sqlite3_vfs* underlying = sqlite3_vfs_find(nullptr);
  if (underlying == nullptr) {
    return SQLITE_ERROR;
  }
  CountedVfs& vfs = counted();
  static_cast<sqlite3_vfs&>(vfs) = *underlying;
  vfs.underlying = underlying;
  constexpr std::size_t alignment = alignof(Tail);
  vfs.tail_at = (static_cast<std::size_t>(underlying->szOsFile) + alignment - 1) / alignment * alignment;
  vfs.szOsFile = static_cast<int>(vfs.tail_at + sizeof(Tail));
  vfs.zName = name;
  vfs.pNext = nullptr;
  vfs.xOpen = open;
  return sqlite3_vfs_register(&vfs, 0);
}

}  // namespace

Result<const char*> counted_vfs() {
  static const int code = enlist();
  if (code != SQLITE_OK) {
    return fail(ErrorKind::bug, "SQLite cannot count its writes: {}", sqlite3_errstr(code));
  }
  return name;
}

std::uint64_t bytes_written() {
  return written.load(std::memory_order_relaxed);
}

}  // namespace flops::store
