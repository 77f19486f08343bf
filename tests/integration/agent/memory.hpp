// What a process occupies, and what an idle agent may.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include <fmt/format.h>

namespace flops::test {

inline constexpr std::int64_t max_resident_kib = std::int64_t{16} * 1024;
inline constexpr std::int64_t max_private_kib = std::int64_t{8} * 1024;

struct Memory {
  std::int64_t resident_kib = 0;
  std::int64_t anonymous_kib = 0;  // its own whatever other programs share its libraries
  std::int64_t private_kib = 0;    // clean and dirty
};

inline Memory memory_of(int pid) {
  Memory memory;
  std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
  std::string word;
  std::int64_t kib = 0;
  while (file >> word) {
    if (word == "Rss:" && file >> kib) {
      memory.resident_kib = kib;
    } else if (word == "Anonymous:" && file >> kib) {
      memory.anonymous_kib = kib;
    } else if ((word == "Private_Clean:" || word == "Private_Dirty:") && file >> kib) {
      memory.private_kib += kib;
    }
  }
  return memory;
}

}  // namespace flops::test
