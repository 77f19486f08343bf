// Content-addressed blobs as files: <root>/objects/<first two digits>/<sha256>, and <root>/staging/ for what is still
// arriving. A blob in objects/ is complete, verified and durable (written beside, fsync, rename, fsync of the folder).
//
// Not thread-safe, but files in objects/ never change, so a path from `path_of` may be read by any thread until the
// blob is removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "flops/blob/chunks.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"

namespace flops::blob {

// A blob that arrives chunk by chunk in any order. It does not survive a restart: FileStore::open() empties staging/.
class Staging {
 public:
  // permanent: no such chunk or wrong length. Of a chunk written twice the first stands.
  [[nodiscard]] Result<> write(std::uint32_t n, std::span<const std::byte> bytes);
  [[nodiscard]] const ChunkSet& chunks() const { return chunks_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const Digest& digest() const { return digest_; }

 private:
  friend class FileStore;
  Staging(Digest digest, std::uint64_t size, std::filesystem::path file, Fd fd)
      : digest_(digest), size_(size), file_(std::move(file)), fd_(std::move(fd)), chunks_(chunk_count(size)) {}
  Digest digest_;
  std::uint64_t size_;
  std::filesystem::path file_;
  Fd fd_;
  ChunkSet chunks_;
};

// Whether blobs outlive the process.
enum class Keep : std::uint8_t {
  durable,        // synced to the disk before they have their name
  until_restart,  // can be made again: never synced, and gone when the store is opened the next time
};

class FileStore {
 public:
  // Creates the folders, and empties staging/, with Keep::until_restart the whole store.
  [[nodiscard]] static Result<FileStore> open(std::filesystem::path root, Keep keep = Keep::durable);

  struct Stored {
    Digest digest;
    std::uint64_t size;
    std::filesystem::path file;
  };
  // What lies in the store at `root`; for before it is opened.
  [[nodiscard]] static std::vector<Stored> stored(const std::filesystem::path& root);

  [[nodiscard]] bool has(const Digest& digest) const;
  [[nodiscard]] std::filesystem::path path_of(const Digest& digest) const;
  [[nodiscard]] Result<std::uint64_t> size_of(const Digest& digest) const;

  // resource when size is 0 or over `max_blob_size`.
  // Several stagings of one digest are independent of each other.
  [[nodiscard]] Result<Staging> stage(const Digest& digest, std::uint64_t size);
  // Verifies and keeps it. corrupt when chunks are missing or the digest does not match; the staged file is
  // gone after any error. Reads the whole file once in blocks; may run on a worker thread (it touches only this
  // staging).
  [[nodiscard]] Result<> finish(Staging staging);
  void discard(Staging staging);

  // Writes a blob whose digest is not known yet: `produce` gets a writer that appends. Returns its digest.
  // resource when nothing or more than `max_blob_size` was written; an error of `produce` is passed on.
  using Writer = std::function<Result<>(std::span<const std::byte>)>;
  [[nodiscard]] Result<Digest> put(const std::function<Result<>(const Writer&)>& produce);

  [[nodiscard]] Result<> read_chunk(const Digest& digest, std::uint32_t n, std::vector<std::byte>& into) const;
  // Reads the whole blob: corrupt when its bytes are not what its name says any more. On any thread.
  [[nodiscard]] Result<> check(const Digest& digest) const;
  [[nodiscard]] Result<> remove(const Digest& digest);  // no error when it is not there
  [[nodiscard]] std::vector<Digest> list() const;

 private:
  FileStore(std::filesystem::path root, Keep keep) : root_(std::move(root)), keep_(keep) {}
  [[nodiscard]] Result<> publish(int fd, const std::filesystem::path& staged,
                                 const std::filesystem::path& object) const;
  std::filesystem::path root_;
  Keep keep_;
};

}  // namespace flops::blob
