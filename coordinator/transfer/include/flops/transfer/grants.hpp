// Back-pressure for uploads. At most `fleet_window` chunks of the whole fleet, and `device_window` of one device, are
// on their way at any time; the rest waits its turn. Pure; the shell sends what next() says.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "flops/blob/chunks.hpp"
#include "flops/core/id.hpp"

namespace flops::transfer {

class Grants {
 public:
  Grants(std::uint32_t fleet_window, std::uint32_t device_window)
      : fleet_window_(fleet_window), device_window_(device_window) {}

  // A new upload of `chunks` chunks, all missing. An existing one of this task is begun anew.
  void add(const TaskId& task, std::uint32_t chunks);
  void remove(const TaskId& task);
  [[nodiscard]] bool has(const TaskId& task) const { return uploads_.contains(task); }

  // The device went away or did not deliver: what it was granted is free for others until resume().
  void pause(const TaskId& task);
  // The device offered the update (again): what it has not delivered may be granted again.
  void resume(const TaskId& task);

  enum class Arrival { fresh, duplicate, not_granted };
  Arrival arrived(const TaskId& task, std::uint32_t n);

  // Grants to send now; they count as on their way from here on. In order of arrival of the uploads.
  [[nodiscard]] std::vector<std::pair<TaskId, blob::ChunkRanges>> next();

  [[nodiscard]] std::uint32_t in_flight() const { return in_flight_; }

 private:
  enum class ChunkState : std::uint8_t { missing, granted, arrived };
  struct Upload {
    std::vector<ChunkState> chunks;
    std::uint32_t granted = 0;
    std::uint32_t missing = 0;
    bool paused = false;
    std::list<TaskId>::iterator place;
  };
  [[nodiscard]] blob::ChunkRanges grant(Upload& upload, std::uint32_t at_most);
  void take_back(Upload& upload);

  std::uint32_t fleet_window_;
  std::uint32_t device_window_;
  std::uint32_t in_flight_ = 0;
  std::list<TaskId> order_;
  std::unordered_map<TaskId, Upload> uploads_;
};

}  // namespace flops::transfer
