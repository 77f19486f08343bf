#include "checkpoint_memory.hpp"

#include <cerrno>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "flops/core/io.hpp"

namespace flops {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t places = 2;
// Parameters, two values of an optimiser for each, and little else.
constexpr std::uint64_t values_per_parameter = 3;
constexpr std::uint64_t all_else = std::uint64_t{16} << 20U;

}  // namespace

CheckpointMemory::CheckpointMemory(int fd, const std::optional<trainer::Place>& in_use)
    : fd_(fd), next_(in_use && in_use->offset == 0 ? 1 : 0) {}

CheckpointMemory::~CheckpointMemory() {
  if (!mapped_.empty()) {
    ::munmap(mapped_.data(), mapped_.size());
  }
}

Result<> CheckpointMemory::make_room(std::uint64_t bytes) {
  room_ = (bytes + page - 1) / page * page;
  if (::ftruncate(fd_, static_cast<off_t>(places * room_)) != 0) {
    return fail(errno_error(errno, "sizing the memory for checkpoints"));
  }
  void* const address = ::mmap(nullptr, places * room_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (address == MAP_FAILED) {
    return fail(errno_error(errno, "mapping the memory for checkpoints"));
  }
  mapped_ = {static_cast<std::byte*>(address), places * room_};
  return {};
}

Result<trainer::Place> CheckpointMemory::write(const models::Snapshot& snapshot) {
  const std::uint64_t bytes = snapshot.bytes();
  if (auto made = mapped_.empty() ? make_room(bytes) : Result<>(); !made) {
    return fail(made.error());
  }
  const trainer::Place place{next_ * room_, bytes};
  if (auto written = snapshot.write(mapped_.subspan(place.offset, bytes)); !written) {
    return fail(written.error());
  }
  next_ = 1 - next_;
  return place;
}

Result<std::vector<std::byte>> CheckpointMemory::read(const trainer::Place& place, std::uint64_t parameters) const {
  if (place.bytes > values_per_parameter * parameters * sizeof(float) + all_else) {
    return fail(ErrorKind::corrupt, "a checkpoint of {} bytes is too large for {} parameters", place.bytes, parameters);
  }
  std::vector<std::byte> bytes(place.bytes);
  if (auto got = read_at(fd_, place.offset, bytes); !got) {
    return fail(got.error(), "reading a checkpoint");
  }
  return bytes;
}

}  // namespace flops
