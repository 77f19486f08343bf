#include "flops/health/storage_check.hpp"

#include <limits>

namespace flops::health {
namespace {

constexpr std::uint64_t copies_of_model = 3;

std::string_view advice(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::resource: return "make room at";
    case ErrorKind::denied: return "nothing can be written: look at the mount, owner and mode of";
    case ErrorKind::corrupt: return "the database is damaged: look at the disk of";
    default: return "look at the disk of";
  }
}

}  // namespace

std::uint64_t room_for_model(std::uint64_t model_bytes) {
  constexpr std::uint64_t most = (std::numeric_limits<std::uint64_t>::max() - room_margin) / copies_of_model;
  return model_bytes > most ? std::numeric_limits<std::uint64_t>::max() : model_bytes * copies_of_model + room_margin;
}

std::string lack_of_room(std::uint64_t needed, std::uint64_t free, std::string_view whom, std::string_view folder) {
  if (free >= needed) {
    return {};
  }
  return fmt::format("no room for {}: {} MiB are needed at {}, {} MiB are free", whom, (needed - 1) / (1U << 20U) + 1,
                     folder, free >> 20U);
}

std::string storage_trouble(const Error& error, std::string_view folder) {
  return fmt::format("{}; {} {}", error.what, advice(error.kind), folder);
}

}  // namespace flops::health
