#include "leftovers.hpp"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <utility>

#include <unistd.h>

#include "flops/blob/chunks.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"

namespace flops::coordinator {
namespace {

namespace fs = std::filesystem;

std::optional<std::pair<Digest, std::uint64_t>> parse_record(const std::string& name) {
  const std::size_t dot = name.find('.');
  auto digest = Digest::from_hex(name.substr(0, dot));
  if (!digest || dot == std::string::npos) {
    return std::nullopt;
  }
  std::uint64_t bytes = 0;
  const char* const end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data() + dot + 1, end, bytes);
  if (error != std::errc() || at != end || bytes == 0 || bytes > blob::max_blob_size) {
    return std::nullopt;
  }
  return std::pair(*digest, bytes);
}

}  // namespace

Result<Leftovers> Leftovers::open(fs::path folder) {
  if (auto made = make_folder(folder, 0750); !made) {
    return fail(made.error());
  }
  Leftovers leftovers(std::move(folder));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(leftovers.folder_, error)) {
    if (const auto record = parse_record(entry.path().filename().string())) {
      leftovers.all_.insert(*record);
    }
  }
  return error ? Result<Leftovers>(
                     fail(errno_error(error.value(), fmt::format("looking through {}", leftovers.folder_.string()))))
               : leftovers;
}

fs::path Leftovers::record_of(const Digest& blob, std::uint64_t bytes) const {
  return folder_ / fmt::format("{}.{}", blob.hex(), bytes);
}

Result<> Leftovers::keep(const Digest& blob, std::uint64_t bytes, const fs::path& file) {
  all_[blob] = bytes;
  const fs::path record = record_of(blob, bytes);
  if (std::rename(file.c_str(), record.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("renaming {} to {}", file.string(), record.string())));
  }
  if (::truncate(record.c_str(), 0) != 0) {  // its name says all
    return fail(errno_error(errno, fmt::format("emptying {}", record.string())));
  }
  return {};
}

void Leftovers::forget(const Digest& blob) {
  const auto found = all_.find(blob);
  if (found == all_.end()) {
    return;
  }
  std::error_code ignored;  // then its chunks are cleared once more after the next start
  fs::remove(record_of(blob, found->second), ignored);
  all_.erase(found);
}

Result<Downloads> open_downloads(const fs::path& folder) {
  auto leftovers = Leftovers::open(folder / "leftovers");
  if (!leftovers) {
    return fail(leftovers.error());
  }
  for (const blob::FileStore::Stored& stored : blob::FileStore::stored(folder)) {
    if (auto kept = leftovers->keep(stored.digest, stored.size, stored.file); !kept) {
      log::warn("blobs", "{}", kept.error().what);
    }
  }
  auto blobs = blob::FileStore::open(folder, blob::Keep::until_restart);
  if (!blobs) {
    return fail(blobs.error());
  }
  return Downloads{*std::move(blobs), *std::move(leftovers)};
}

}  // namespace flops::coordinator
