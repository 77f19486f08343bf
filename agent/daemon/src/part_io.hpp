// Stored values and anonymous files, part by part.
#pragma once

#include <cstdint>

#include "flops/agent_storage/storage.hpp"
#include "flops/core/io.hpp"
#include "model_work.hpp"

namespace flops::agent {

inline Storage::PartSource part_source(const SharedFd& file) {
  return [file](std::uint64_t offset, std::span<std::byte> into) { return read_at(file->get(), offset, into); };
}

// Copies parts into a file one after the other, never past `limit`.
inline Storage::PartSink part_sink(int fd, std::uint64_t& size, std::uint64_t limit) {
  return [fd, &size, limit](std::span<const std::byte> part) -> Result<> {
    if (part.size() > limit - size) {
      return fail(ErrorKind::corrupt, "a stored value is longer than recorded");
    }
    auto written = write_at(fd, size, part);
    size += part.size();
    return written;
  };
}

}  // namespace flops::agent
