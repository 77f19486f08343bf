#include "records.hpp"

#include <algorithm>
#include <utility>

namespace flops::coordinator {

bool is_storage_trouble(const Error& error) {
  return error.kind == ErrorKind::resource || error.kind == ErrorKind::transient || error.kind == ErrorKind::denied ||
         error.kind == ErrorKind::corrupt;
}

Result<> Records::write(std::string key, Step step) {
  const auto older = std::ranges::find(waiting_, key, &Waiting::key);
  if (older != waiting_.end()) {
    older->step = std::move(step);
    return {};
  }
  Result<> written = waiting_.empty() ? step() : Result<>();
  if (waiting_.empty() && (written || !is_storage_trouble(written.error()))) {
    return written;
  }
  if (waiting_.size() >= max_waiting) {
    return fail(ErrorKind::permanent, "more than {} records wait for the storage", max_waiting);
  }
  waiting_.push_back({std::move(key), std::move(step)});
  return written;
}

Result<> Records::retry() {
  while (!waiting_.empty()) {
    if (auto written = waiting_.front().step(); !written && is_storage_trouble(written.error())) {
      return written;
    }
    waiting_.erase(waiting_.begin());
  }
  return {};
}

}  // namespace flops::coordinator
