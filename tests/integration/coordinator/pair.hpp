// Two devices and a run whose initial model is made.
#pragma once

#include <utility>
#include <vector>

#include "device.hpp"

namespace flops::test {

struct Pair {
  explicit Pair(std::vector<std::pair<std::string, std::string>> environment = {});

  // The device's task of this round; others of it may have been repeated.
  static wire::Task task_of(Device& device, std::int64_t round);

  struct Work {
    wire::ResultMessage offer;
    std::string blob;
  };
  [[nodiscard]] Work work(const Device& device, const wire::Task& task, unsigned seed) const;
  static wire::ReceiptStatus deliver(Device& device, const Work& work);
  // Both take their task of this round and deliver.
  void play_round(std::int64_t round);
  // Where the stored update lies.
  [[nodiscard]] std::filesystem::path stored(const Work& work) const;
  [[nodiscard]] std::string run_state();

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  Device a, b;
  std::vector<float> initial = values(0.1F, 1);
};

// Also while the coordinator runs.
void change_records(const std::filesystem::path& state, const std::string& sql);

}  // namespace flops::test
