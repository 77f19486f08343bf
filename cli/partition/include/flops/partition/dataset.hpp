// A labelled image data set in memory, and its parts on disk: one folder a device with train-images.idx3-ubyte,
// train-labels.idx1-ubyte, test-images.idx3-ubyte and test-labels.idx1-ubyte.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/partition/idx.hpp"
#include "flops/partition/split.hpp"

namespace flops::partition {

struct Dataset {
  IdxArray train_images;
  IdxArray train_labels;
  IdxArray test_images;
  IdxArray test_labels;
};

// Reads {train,t10k|test}-{images.idx3,labels.idx1}-ubyte of a folder, also with '-' for the first '.', also with .gz.
// permanent: a file is missing. corrupt: it is malformed, or images and labels do not belong together.
[[nodiscard]] Result<Dataset> load_dataset(const std::filesystem::path& folder);

struct DevicePart {
  std::string device;
  std::filesystem::path folder;
  std::uint64_t train_samples = 0;
  std::uint64_t test_samples = 0;
  std::vector<std::uint64_t> train_classes;  // train samples of each label, from 0 on
};

// Writes <out>/<prefix><n>/, n from 1 on, atomically file by file. permanent: `out` is not empty, or the prefix does
// not make device ids.
[[nodiscard]] Result<std::vector<DevicePart>> write_parts(const Dataset& dataset, const Split& split,
                                                          const std::filesystem::path& out, const std::string& prefix);

}  // namespace flops::partition
