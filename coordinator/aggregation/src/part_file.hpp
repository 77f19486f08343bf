// A file of the model folder while it is written, under a name that ModelFolder::remove_unfinished knows. It gets its
// own name, which may depend on its content, when it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "flops/aggregation/round_sum.hpp"
#include "flops/core/fd.hpp"

namespace flops::aggregation {

class PartFile {
 public:
  [[nodiscard]] static Result<PartFile> create(const ModelFolder& models);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile();  // removes what was not finished

  // The disk begins to work at once; without this all of it would wait for the sync at the end.
  [[nodiscard]] Result<> write(std::uint64_t offset, std::span<const std::byte> bytes);
  // Syncs file and folder.
  [[nodiscard]] Result<> finish(const std::filesystem::path& name);

 private:
  PartFile(std::filesystem::path temporary, Fd fd) : temporary_(std::move(temporary)), fd_(std::move(fd)) {}

  std::filesystem::path temporary_;  // empty once renamed
  Fd fd_;
};

}  // namespace flops::aggregation
