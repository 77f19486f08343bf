// Values to store.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/agent_storage/storage.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::agent::samples {

inline constexpr std::int64_t now = 1'700'000'000'000;

inline Digest digest(std::uint8_t fill) {
  std::array<std::uint8_t, Digest::size> bytes{};
  bytes.fill(fill);
  return Digest(bytes);
}

inline Storage open(const std::filesystem::path& folder) {
  auto storage = Storage::open(folder, Damaged::set_aside, now);
  REQUIRE_MESSAGE(storage.has_value(), (storage ? "" : storage.error().what));
  return *std::move(storage);
}

inline TaskState task(const std::string& id, Phase phase = Phase::fetching) {
  TaskState state;
  state.task.ref = {*TaskId::parse(id), *RunId::parse("run-1"), 2, 3};
  state.task.model = "softmax";
  state.task.data = "mnist";
  state.task.seed = 0xfedcba9876543210ULL;
  state.task.layout_text = R"([["w",[2,3]]])";
  state.task.base = digest(1);
  state.task.base_blob = wire::BlobRef{digest(2), 700'000};
  state.phase = phase;
  if (phase == Phase::offering || phase == Phase::uploading) {
    wire::ResultMessage result;
    result.ref = state.task.ref;
    result.update = {digest(4), 600'000};
    result.layout = digest(5);
    result.base = digest(1);
    result.weight = 60;
    result.train_loss = 0.123456789;
    state.result = result;
  }
  return state;
}

inline std::vector<std::byte> pattern(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + i / 257 + seed) & 0xFFU);
  }
  return bytes;
}

inline Storage::PartSource source_of(const std::vector<std::byte>& bytes) {
  return [&bytes](std::uint64_t offset, std::span<std::byte> into) -> Result<> {
    REQUIRE(offset + into.size() <= bytes.size());
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  };
}

inline Storage::PartSink append_to(std::vector<std::byte>& bytes) {
  return [&bytes](std::span<const std::byte> part) -> Result<> {
    bytes.insert(bytes.end(), part.begin(), part.end());
    return {};
  };
}

inline std::vector<TaskState> tasks_of(Storage& storage) {
  std::size_t damaged = 0;
  auto tasks = storage.tasks(damaged);
  REQUIRE(tasks.has_value());
  CHECK(damaged == 0);
  return *std::move(tasks);
}

}  // namespace flops::agent::samples
