#include "flops/blob/file_store.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_io.hpp"
#include "flops/core/file.hpp"
#include "flops/core/io.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::blob {
namespace {

namespace fs = std::filesystem;

constexpr mode_t file_mode = 0640;

fs::path staging_folder(const fs::path& root) {
  return root / "staging";
}

void remove_quietly(const fs::path& file) {
  std::error_code ignored;
  fs::remove(file, ignored);
}

Result<> verify(int fd, const Digest& wanted, std::uint64_t size) {
  auto actual = digest_of(fd, size);
  if (!actual) {
    return fail(std::move(actual.error()));
  }
  if (*actual != wanted) {
    return fail(ErrorKind::corrupt, "blob {} has the digest {}", wanted.short_hex(), actual->short_hex());
  }
  return {};
}

struct StagedFile {
  fs::path path;
  Fd fd;
};

// A name of its own for each: one sender cannot touch what another sender is sending under the same digest.
Result<StagedFile> create_staged_file(const fs::path& root) {
  std::string name = (staging_folder(root) / "XXXXXX").string();
  Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating a file in {}", staging_folder(root).string())));
  }
  if (::fchmod(fd.get(), file_mode) != 0) {
    const int code = errno;
    remove_quietly(name);
    return fail(errno_error(code, fmt::format("setting permissions of {}", name)));
  }
  return StagedFile{name, std::move(fd)};
}

// The folders may be new: without their names a power cut takes all that is in them. And a process that was killed may
// have given a blob its name without syncing that.
Result<> sync_names(const fs::path& root) {
  std::vector<fs::path> folders = {fs::absolute(root).parent_path(), root, root / "objects"};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "objects", error)) {
    if (entry.is_directory(error)) {
      folders.push_back(entry.path());
    }
  }
  for (const fs::path& folder : folders) {
    if (auto synced = sync_folder(folder); !synced) {
      return synced;
    }
  }
  return error ? fail(errno_error(error.value(), fmt::format("looking through {}", root.string()))) : Result<>();
}

}  // namespace

Result<> Staging::write(std::uint32_t n, std::span<const std::byte> bytes) {
  const std::uint32_t wanted = chunk_bytes(size_, n);
  if (wanted == 0) {
    return fail(ErrorKind::permanent, "blob {} has {} chunks; there is no chunk {}", digest_.short_hex(),
                chunks_.count(), n);
  }
  if (bytes.size() != wanted) {
    return fail(ErrorKind::permanent, "chunk {} of blob {} has {} bytes, it must have {}", n, digest_.short_hex(),
                bytes.size(), wanted);
  }
  // The first bytes stand: a repetition costs nothing and a forged one changes nothing.
  if (chunks_.has(n)) {
    return {};
  }
  const std::uint64_t offset = std::uint64_t{n} * chunk_size;
  if (auto written = write_at(fd_.get(), offset, bytes); !written) {
    return written;
  }
  // The disk works while the next chunks are on their way; without this all of it waits for the sync at the end.
  (void)::sync_file_range(fd_.get(), static_cast<off64_t>(offset), wanted, SYNC_FILE_RANGE_WRITE);
  chunks_.add(n);
  return {};
}

Result<FileStore> FileStore::open(std::filesystem::path root, Keep keep) {
  if (keep == Keep::until_restart) {
    std::error_code error;
    fs::remove_all(root / "objects", error);
    if (error) {
      return fail(errno_error(error.value(), fmt::format("emptying {}", root.string())));
    }
  }
  for (const fs::path& folder : {root, root / "objects", staging_folder(root)}) {
    if (auto made = make_folder(folder, 0750); !made) {
      return fail(std::move(made.error()));
    }
  }
  if (auto synced = keep == Keep::durable ? sync_names(root) : Result<>(); !synced) {
    return fail(std::move(synced.error()));
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(staging_folder(root), error)) {
    remove_quietly(entry.path());
  }
  if (error) {
    return fail(errno_error(error.value(), fmt::format("emptying {}", staging_folder(root).string())));
  }
  return FileStore(std::move(root), keep);
}

// staged file -> objects/: a durable one is synced before it gets its name, and the name before anyone is told.
Result<> FileStore::publish(int fd, const fs::path& staged, const fs::path& object) const {
  const bool durable = keep_ == Keep::durable;
  if (durable && ::fsync(fd) != 0) {
    return fail(errno_error(errno, fmt::format("syncing {}", staged.string())));
  }
  if (auto made = make_folder(object.parent_path(), 0750); !made) {
    return made;
  }
  std::error_code ignored;
  const bool held = fs::exists(object, ignored);  // the same bytes, which others may rely on
  if (std::rename(staged.c_str(), object.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("renaming {} to {}", staged.string(), object.string())));
  }
  if (!durable) {
    return {};
  }
  auto synced = sync_folder(object.parent_path());
  if (synced) {  // the two-digit folder may be new
    synced = sync_folder(object.parent_path().parent_path());
  }
  if (!synced && !held) {
    remove_quietly(object);  // it must not be taken for a durable one
  }
  return synced;
}

std::filesystem::path FileStore::path_of(const Digest& digest) const {
  const std::string hex = digest.hex();
  return root_ / "objects" / hex.substr(0, 2) / hex;
}

bool FileStore::has(const Digest& digest) const {
  std::error_code error;
  return fs::is_regular_file(path_of(digest), error);
}

Result<std::uint64_t> FileStore::size_of(const Digest& digest) const {
  std::error_code error;
  const std::uint64_t size = fs::file_size(path_of(digest), error);
  if (error) {
    return fail(errno_error(error.value(), fmt::format("blob {}", digest.short_hex())));
  }
  return size;
}

Result<Staging> FileStore::stage(const Digest& digest, std::uint64_t size) {
  if (size == 0 || size > max_blob_size) {
    return fail(ErrorKind::resource, "blob {} of {} bytes: a blob has 1 to {} bytes", digest.short_hex(), size,
                max_blob_size);
  }
  auto file = create_staged_file(root_);
  if (!file) {
    return fail(std::move(file.error()));
  }
  return Staging(digest, size, std::move(file->path), std::move(file->fd));
}

Result<> FileStore::finish(Staging staging) {
  Result<> outcome;
  if (!staging.chunks_.complete()) {
    outcome = fail(ErrorKind::corrupt, "blob {} is incomplete: {} of {} chunks", staging.digest_.short_hex(),
                   staging.chunks_.present(), staging.chunks_.count());
  } else {
    outcome = verify(staging.fd_.get(), staging.digest_, staging.size_);
  }
  if (outcome) {
    outcome = publish(staging.fd_.get(), staging.file_, path_of(staging.digest_));
  }
  if (!outcome) {
    remove_quietly(staging.file_);
  }
  return outcome;
}

void FileStore::discard(Staging staging) {
  remove_quietly(staging.file_);
}

Result<Digest> FileStore::put(const std::function<Result<>(const Writer&)>& produce) {
  auto file = create_staged_file(root_);
  if (!file) {
    return fail(std::move(file.error()));
  }
  crypto::Sha256 hash;
  std::uint64_t size = 0;
  auto outcome = produce([&](std::span<const std::byte> bytes) -> Result<> {
    if (bytes.size() > max_blob_size - size) {
      return fail(ErrorKind::resource, "a blob has at most {} bytes", max_blob_size);
    }
    if (auto written = write_at(file->fd.get(), size, bytes); !written) {
      return written;
    }
    hash.update(bytes);
    size += bytes.size();
    return {};
  });
  if (outcome && size == 0) {
    outcome = fail(ErrorKind::resource, "an empty blob");
  }
  const Digest digest = hash.finish();
  if (outcome) {
    outcome = publish(file->fd.get(), file->path, path_of(digest));
  }
  if (!outcome) {
    remove_quietly(file->path);
    return fail(std::move(outcome.error()));
  }
  return digest;
}

Result<> FileStore::read_chunk(const Digest& digest, std::uint32_t n, std::vector<std::byte>& into) const {
  const fs::path file = path_of(digest);
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening {}", file.string())));
  }
  auto size = file_size(fd.get());
  if (!size) {
    return fail(std::move(size.error()));
  }
  const std::uint32_t bytes = chunk_bytes(*size, n);
  if (bytes == 0) {
    return fail(ErrorKind::permanent, "blob {} has {} chunks; there is no chunk {}", digest.short_hex(),
                chunk_count(*size), n);
  }
  into.resize(bytes);
  return read_at(fd.get(), std::uint64_t{n} * chunk_size, into);
}

Result<> FileStore::check(const Digest& digest) const {
  const fs::path file = path_of(digest);
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening {}", file.string())));
  }
  auto size = file_size(fd.get());
  return size ? verify(fd.get(), digest, *size) : Result<>(fail(std::move(size.error())));
}

Result<> FileStore::remove(const Digest& digest) {
  std::error_code error;
  fs::remove(path_of(digest), error);
  if (error) {
    return fail(errno_error(error.value(), fmt::format("removing blob {}", digest.short_hex())));
  }
  return {};
}

std::vector<FileStore::Stored> FileStore::stored(const fs::path& root) {
  std::vector<Stored> found;
  std::error_code error;
  for (fs::recursive_directory_iterator at(root / "objects", error), end; !error && at != end; at.increment(error)) {
    std::error_code none;
    if (!at->is_regular_file(none)) {
      continue;
    }
    const std::uint64_t size = at->file_size(none);
    if (auto digest = Digest::from_hex(at->path().filename().string()); digest && !none) {
      found.push_back({*digest, size, at->path()});
    }
  }
  return found;
}

std::vector<Digest> FileStore::list() const {
  std::vector<Digest> digests;
  std::ranges::transform(stored(root_), std::back_inserter(digests), &Stored::digest);
  std::ranges::sort(digests);
  return digests;
}

}  // namespace flops::blob
