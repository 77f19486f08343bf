// A small learnable data set in IDX form, made on the spot: class c is a bright block at place c, on noise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "flops/test/temporary_folder.hpp"

namespace flops::test {

inline std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (unsigned shift = 32; shift > 0; shift -= 8) {
    bytes += static_cast<char>((value >> (shift - 8)) & 0xFFU);
  }
  return bytes;
}

inline std::string images_header(std::uint32_t count, std::uint32_t rows, std::uint32_t columns) {
  return big_endian(0x0803) + big_endian(count) + big_endian(rows) + big_endian(columns);
}
inline std::string labels_header(std::uint32_t count) {
  return big_endian(0x0801) + big_endian(count);
}

inline void write_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

// <name>-images and <name>-labels in `folder`. The same arguments write the same bytes.
inline void write_digits(const std::filesystem::path& folder, const std::string& name, std::uint32_t count,
                         std::uint32_t seed) {
  constexpr std::uint32_t side = 28;
  std::string images = images_header(count, side, side);
  std::string labels = labels_header(count);
  std::uint32_t state = seed * 2'654'435'761U + 1;
  for (std::uint32_t n = 0; n < count; ++n) {
    const std::uint32_t label = n % 10;
    const std::uint32_t top = (label / 5) * 14 + 3;
    const std::uint32_t left = (label % 5) * 5 + 1;
    for (std::uint32_t pixel = 0; pixel < side * side; ++pixel) {
      state = state * 1'664'525U + 1'013'904'223U;
      const std::uint32_t row = pixel / side;
      const std::uint32_t column = pixel % side;
      const bool bright = row >= top && row < top + 6 && column >= left && column < left + 4;
      images += static_cast<char>((bright ? 150U : 0U) + (state >> 24U) % 100U);
    }
    labels += static_cast<char>(label);
  }
  write_bytes(folder / (name + "-images"), images);
  write_bytes(folder / (name + "-labels"), labels);
}

inline void write_digits(const TemporaryFolder& folder, const std::string& name, std::uint32_t count,
                         std::uint32_t seed) {
  write_digits(folder.path(), name, count, seed);
}

}  // namespace flops::test
