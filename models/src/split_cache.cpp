#include <algorithm>

#include <sys/stat.h>

#include "flops/models/dataset.hpp"

namespace flops::models {
namespace {

std::string identity(const std::filesystem::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) {
    return file.string();  // reading it will say what is wrong
  }
  return fmt::format("{}:{}:{}:{}:{}.{:09}", file.string(), info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec);
}

}  // namespace

Result<std::shared_ptr<const Split>> SplitCache::get(const std::filesystem::path& samples,
                                                     const std::filesystem::path& labels) {
  std::string key = identity(samples) + '\n' + identity(labels);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (found != entries_.end()) {
    std::rotate(found, found + 1, entries_.end());
    return entries_.back().split;
  }
  if (entries_.size() == capacity) {
    entries_.erase(entries_.begin());  // before reading: never more than `capacity` in memory
  }
  auto split = read_idx(samples, labels);
  if (!split) {
    return fail(split.error());
  }
  entries_.push_back({std::move(key), std::make_shared<const Split>(std::move(*split))});
  return entries_.back().split;
}

}  // namespace flops::models
