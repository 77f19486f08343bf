// Blobs that nothing needs any more and whose chunks the broker may still retain: an empty file each, named
// <digest>.<size>, until all of them are known to be cleared. So a kill or a restart in between forgets none. Not
// synced: after a power cut some may stay on the broker.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>

#include "flops/blob/file_store.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::coordinator {

class Leftovers {
 public:
  // Makes the folder, and reads what an earlier process has left in it.
  [[nodiscard]] static Result<Leftovers> open(std::filesystem::path folder);

  // The blob's own file becomes the record, which needs no room on a full disk. A record that cannot be kept is held in
  // memory, and the error returned.
  [[nodiscard]] Result<> keep(const Digest& blob, std::uint64_t bytes, const std::filesystem::path& file);
  void forget(const Digest& blob);
  [[nodiscard]] const std::map<Digest, std::uint64_t>& all() const { return all_; }  // size

 private:
  explicit Leftovers(std::filesystem::path folder) : folder_(std::move(folder)) {}
  [[nodiscard]] std::filesystem::path record_of(const Digest& blob, std::uint64_t bytes) const;

  std::filesystem::path folder_;
  std::map<Digest, std::uint64_t> all_;
};

struct Downloads {
  blob::FileStore blobs;  // until the next restart
  Leftovers leftovers;
};
// Opens the store at `folder`. What lies in it may be on the broker, where the process before had published it.
[[nodiscard]] Result<Downloads> open_downloads(const std::filesystem::path& folder);

}  // namespace flops::coordinator
