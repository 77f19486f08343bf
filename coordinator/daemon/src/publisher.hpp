// Puts blobs (model versions for devices) on the broker as retained chunks, and takes them away again when no task
// needs them. At most a few chunks are on their way at a time, so that memory does not grow with the model.
//
// What is to be taken away is in `Leftovers` until the broker has acknowledged that every chunk is cleared.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "flops/blob/file_store.hpp"
#include "flops/core/digest.hpp"
#include "leftovers.hpp"
#include "link.hpp"

namespace flops::coordinator {

class Publisher {
 public:
  Publisher(Link& link, blob::FileStore& blobs, Leftovers& leftovers)
      : link_(link), blobs_(blobs), leftovers_(leftovers) {}

  // Publishes the blob, unless it is there already.
  void add(const Digest& blob, std::uint64_t bytes);
  // Takes it off the broker; its file is gone at once.
  void remove(const Digest& blob);
  // Takes off what earlier processes had published, as far as it has not been added anew.
  void clear_leftovers();
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
    std::uint64_t clearing;  // number of the clearing it belongs to; 0: it is to be published
  };
  struct Clearing {
    std::uint64_t number;
    std::uint32_t chunks_left;
  };
  void clear(const Digest& blob, std::uint64_t bytes);
  void cleared(const Chunk& chunk);
  [[nodiscard]] bool is_wanted(const Chunk& chunk) const;
  void drop_waiting(const Digest& blob);
  void pump();
  [[nodiscard]] Result<> send(const Chunk& chunk);

  Link& link_;
  blob::FileStore& blobs_;
  Leftovers& leftovers_;
  std::map<Digest, std::uint64_t> blobs_held_;  // size
  std::map<Digest, Clearing> clearings_;
  std::uint64_t clearings_begun_ = 0;
  std::deque<Chunk> queue_;
  std::deque<Chunk> unread_;
  std::optional<Error> problem_;  // of the last of these
  std::size_t in_flight_ = 0;
};

}  // namespace flops::coordinator
