// A disk that fails on request: a SQLite VFS over the default one. It can run full at any write, and it can lose power:
// then what was written and not synced is gone, wholly or in part, as on a real disk without a battery.
//
//   Disk disk("name");            // options.vfs = disk.name()
//   disk.power_cut_at(n);         // from the n-th write on nothing is written any more
//   ... until the database fails; destroy it ...
//   disk.power_on(seed);          // the files are what the disk kept
//
// Names of files are durable with the first sync of the file; deletions at once. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace flops::test {

class Disk {
 public:
  explicit Disk(std::string name);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  [[nodiscard]] const std::string& name() const;
  // Writes, truncations and syncs since the beginning or the last power_on().
  [[nodiscard]] std::uint64_t writes() const;
  // The n-th of them from now (1: the next) and all after it: "disk full", until heal().
  void full_at(std::uint64_t n);
  void heal();
  void power_cut_at(std::uint64_t n);
  // Call it when every database on this disk is closed. 0: all that was not synced is lost; else each sector is lost or
  // kept by a seeded draw.
  void power_on(std::uint64_t seed);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace flops::test
