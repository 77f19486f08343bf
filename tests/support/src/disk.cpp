#include "flops/test/disk.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include <sqlite3.h>

namespace flops::test {
namespace {

constexpr std::uint64_t sector = 512;

// What a file was when it was synced last, as far as it has been changed since.
struct Unsynced {
  std::uint64_t size = 0;
  std::map<std::uint64_t, std::vector<char>> sectors;  // by number; shorter at the end of the file
};

struct File {
  sqlite3_file base;
  Disk::State* disk;
  Unsynced* changes;  // none: a temporary file
  sqlite3_file* real;
};

File& file_of(sqlite3_file* file) {
  return *reinterpret_cast<File*>(file);
}

}  // namespace

struct Disk::State {
  std::string name;
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs vfs{};
  std::map<std::string, Unsynced> files;
  std::uint64_t writes = 0;
  std::uint64_t full_from = UINT64_MAX;
  std::uint64_t cut_from = UINT64_MAX;

  // The outcome that was asked for, of one more write.
  int next(int when_cut) {
    ++writes;
    if (writes >= cut_from) {
      return when_cut;
    }
    return writes >= full_from ? SQLITE_FULL : SQLITE_OK;
  }
  [[nodiscard]] bool cut() const { return writes >= cut_from; }
};

namespace {

sqlite3_int64 size_of(sqlite3_file* real) {
  sqlite3_int64 size = 0;
  real->pMethods->xFileSize(real, &size);
  return size;
}

// Remembers what the sectors of [begin, end) are before they change.
void remember(File& file, std::uint64_t begin, std::uint64_t end) {
  const auto size = std::min(static_cast<std::uint64_t>(size_of(file.real)), file.changes->size);
  for (std::uint64_t n = begin / sector; n * sector < std::min(end, size); ++n) {
    auto [place, fresh] = file.changes->sectors.try_emplace(n);
    if (fresh) {
      place->second.resize(std::min(sector, size - n * sector));
      file.real->pMethods->xRead(file.real, place->second.data(), static_cast<int>(place->second.size()),
                                 static_cast<sqlite3_int64>(n * sector));
    }
  }
}

int on_close(sqlite3_file* file) {
  return file_of(file).real->pMethods->xClose(file_of(file).real);
}
int on_read(sqlite3_file* file, void* into, int amount, sqlite3_int64 offset) {
  return file_of(file).real->pMethods->xRead(file_of(file).real, into, amount, offset);
}
int on_write(sqlite3_file* base, const void* from, int amount, sqlite3_int64 offset) {
  File& file = file_of(base);
  if (file.changes != nullptr) {
    if (const int code = file.disk->next(SQLITE_IOERR_WRITE); code != SQLITE_OK) {
      return code;
    }
    remember(file, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(offset + amount));
  }
  return file.real->pMethods->xWrite(file.real, from, amount, offset);
}
int on_truncate(sqlite3_file* base, sqlite3_int64 size) {
  File& file = file_of(base);
  if (file.changes != nullptr) {
    if (const int code = file.disk->next(SQLITE_IOERR_TRUNCATE); code != SQLITE_OK) {
      return code;
    }
    remember(file, static_cast<std::uint64_t>(size), UINT64_MAX);
  }
  return file.real->pMethods->xTruncate(file.real, size);
}
int on_sync(sqlite3_file* base, int flags) {
  File& file = file_of(base);
  if (file.changes != nullptr) {
    if (const int code = file.disk->next(SQLITE_IOERR_FSYNC); code != SQLITE_OK) {
      return code;
    }
    *file.changes = {static_cast<std::uint64_t>(size_of(file.real)), {}};
    return SQLITE_OK;  // the real disk keeps its power
  }
  return file.real->pMethods->xSync(file.real, flags);
}
int on_file_size(sqlite3_file* file, sqlite3_int64* size) {
  return file_of(file).real->pMethods->xFileSize(file_of(file).real, size);
}
int on_lock(sqlite3_file* file, int level) {
  return file_of(file).real->pMethods->xLock(file_of(file).real, level);
}
int on_unlock(sqlite3_file* file, int level) {
  return file_of(file).real->pMethods->xUnlock(file_of(file).real, level);
}
int on_check_lock(sqlite3_file* file, int* taken) {
  return file_of(file).real->pMethods->xCheckReservedLock(file_of(file).real, taken);
}
int on_control(sqlite3_file* file, int operation, void* argument) {
  return file_of(file).real->pMethods->xFileControl(file_of(file).real, operation, argument);
}
int on_sector_size(sqlite3_file*) {
  return sector;
}
int on_characteristics(sqlite3_file*) {
  return 0;  // promises nothing
}
int on_shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** memory) {
  return file_of(file).real->pMethods->xShmMap(file_of(file).real, page, size, extend, memory);
}
int on_shm_lock(sqlite3_file* file, int offset, int n, int flags) {
  return file_of(file).real->pMethods->xShmLock(file_of(file).real, offset, n, flags);
}
void on_shm_barrier(sqlite3_file* file) {
  file_of(file).real->pMethods->xShmBarrier(file_of(file).real);
}
int on_shm_unmap(sqlite3_file* file, int remove) {
  return file_of(file).real->pMethods->xShmUnmap(file_of(file).real, remove);
}

const sqlite3_io_methods methods = {2,
                                    on_close,
                                    on_read,
                                    on_write,
                                    on_truncate,
                                    on_sync,
                                    on_file_size,
                                    on_lock,
                                    on_unlock,
                                    on_check_lock,
                                    on_control,
                                    on_sector_size,
                                    on_characteristics,
                                    on_shm_map,
                                    on_shm_lock,
                                    on_shm_barrier,
                                    on_shm_unmap,
                                    nullptr,
                                    nullptr};

Disk::State& state_of(sqlite3_vfs* vfs) {
  return *static_cast<Disk::State*>(vfs->pAppData);
}

int on_open(sqlite3_vfs* vfs, const char* path, sqlite3_file* base, int flags, int* out_flags) {
  Disk::State& state = state_of(vfs);
  File& file = file_of(base);
  file = {{nullptr}, &state, nullptr, reinterpret_cast<sqlite3_file*>(&file + 1)};
  const int code = state.real->xOpen(state.real, path, file.real, flags, out_flags);
  if (code != SQLITE_OK) {
    return code;
  }
  if (path != nullptr) {
    const auto [place, fresh] = state.files.try_emplace(path);
    if (fresh) {
      place->second.size = static_cast<std::uint64_t>(size_of(file.real));
    }
    file.changes = &place->second;
  }
  base->pMethods = &methods;
  return SQLITE_OK;
}
int on_delete(sqlite3_vfs* vfs, const char* path, int sync) {
  Disk::State& state = state_of(vfs);
  if (state.cut()) {
    return SQLITE_IOERR_DELETE;
  }
  state.files.erase(path);
  return state.real->xDelete(state.real, path, sync);
}

void restore(const std::string& path, const Unsynced& was, const std::function<bool()>& lost) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return;
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (const auto& [n, content] : was.sectors) {
      if (lost()) {
        file.seekp(static_cast<std::streamoff>(n * sector));
        file.write(content.data(), static_cast<std::streamsize>(content.size()));
      }
    }
  }
  // The new length is one more thing that may not have reached the disk.
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (size < was.size || lost()) {
    std::filesystem::resize_file(path, was.size, error);
  }
}

}  // namespace

Disk::Disk(std::string name) : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->real = sqlite3_vfs_find(nullptr);
  state_->vfs = *state_->real;
  state_->vfs.zName = state_->name.c_str();
  state_->vfs.szOsFile = static_cast<int>(sizeof(File)) + state_->real->szOsFile;
  state_->vfs.pAppData = state_.get();
  state_->vfs.xOpen = on_open;
  state_->vfs.xDelete = on_delete;
  sqlite3_vfs_register(&state_->vfs, 0);
}

Disk::~Disk() {
  sqlite3_vfs_unregister(&state_->vfs);
}

const std::string& Disk::name() const {
  return state_->name;
}
std::uint64_t Disk::writes() const {
  return state_->writes;
}
void Disk::full_at(std::uint64_t n) {
  state_->full_from = state_->writes + n;
}
void Disk::heal() {
  state_->full_from = UINT64_MAX;
}
void Disk::power_cut_at(std::uint64_t n) {
  state_->cut_from = state_->writes + n;
}

void Disk::power_on(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto lost = [&] { return seed == 0 || (random() & 1U) == 0; };
  for (const auto& [path, was] : state_->files) {
    restore(path, was, lost);
    std::error_code ignored;
    std::filesystem::remove(path + "-shm", ignored);  // memory, not disk
  }
  state_->files.clear();
  state_->writes = 0;
  state_->full_from = UINT64_MAX;
  state_->cut_from = UINT64_MAX;
}

}  // namespace flops::test
