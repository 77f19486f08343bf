// Puts blobs (model versions for devices) on the broker as retained chunks, and takes them away again when no task
// needs them. At most a few chunks are on their way at a time, so that memory does not grow with the model.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "flops/blob/file_store.hpp"
#include "flops/core/digest.hpp"
#include "link.hpp"

namespace flops::coordinator {

class Publisher {
 public:
  Publisher(Link& link, blob::FileStore& blobs) : link_(link), blobs_(blobs) {}

  // Publishes the blob, unless it is there already.
  void add(const Digest& blob, std::uint64_t bytes);
  // Takes it off the broker and deletes its file.
  void remove(const Digest& blob);
  // After a connect: the broker may have lost everything.
  void republish();
  // Of chunks that cannot be read from the disk; the others go out.
  [[nodiscard]] std::optional<Error> problem() const;
  // Reads those again; the error of one that still cannot be read.
  [[nodiscard]] Result<> retry();

 private:
  struct Chunk {
    Digest blob;
    std::uint32_t n;
    bool clear;
  };
  void pump();
  [[nodiscard]] Result<> send(const Chunk& chunk);

  Link& link_;
  blob::FileStore& blobs_;
  std::map<Digest, std::uint64_t> blobs_held_;  // size
  std::deque<Chunk> queue_;
  std::deque<Chunk> unread_;
  std::optional<Error> problem_;  // of the last of these
  std::size_t in_flight_ = 0;
};

}  // namespace flops::coordinator
