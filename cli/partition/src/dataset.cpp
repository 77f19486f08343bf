#include "flops/partition/dataset.hpp"

#include <algorithm>

#include "flops/core/file.hpp"
#include "flops/core/id.hpp"

namespace flops::partition {

namespace {

namespace fs = std::filesystem;

// The file of one part under any of its customary names.
Result<IdxArray> load_part(const fs::path& folder, const std::vector<std::string>& stems, const std::string& type) {
  for (const std::string& stem : stems) {
    for (const char* separator : {".", "-"}) {
      for (const char* suffix : {"", ".gz"}) {
        const fs::path file = folder / fmt::format("{}{}{}{}", stem, separator, type, suffix);
        std::error_code ignored;
        if (fs::is_regular_file(file, ignored)) {
          return load_idx(file);
        }
      }
    }
  }
  return fail(ErrorKind::permanent, "{}: no {}.{} or {}-{}.gz in this folder", folder.string(), stems.front(), type,
              stems.back(), type);
}

Result<> check_pair(const IdxArray& images, const IdxArray& labels, std::string_view which, const fs::path& folder) {
  if (images.dimensions.size() != 3 || labels.dimensions.size() != 1) {
    return fail(ErrorKind::corrupt, "{}: the {} images need 3 dimensions and the labels 1; they have {} and {}",
                folder.string(), which, images.dimensions.size(), labels.dimensions.size());
  }
  if (images.samples() != labels.samples()) {
    return fail(ErrorKind::corrupt, "{}: {} {} images, but {} labels", folder.string(), images.samples(), which,
                labels.samples());
  }
  return {};
}

// Devices of another split left in the folder would be taken for part of this one.
Result<> check_empty(const fs::path& out) {
  std::error_code error;
  if (fs::exists(out, error) && (!fs::is_directory(out, error) || !fs::is_empty(out, error))) {
    return fail(ErrorKind::permanent, "{} exists and is not an empty folder: choose another or remove it",
                out.string());
  }
  return {};
}

Result<> write_part(const IdxArray& array, const std::vector<std::uint32_t>& indices, const fs::path& file) {
  return replace_file(file, encode_idx(array, indices));
}

Result<DevicePart> write_device(const Dataset& data, const std::vector<std::uint32_t>& train,
                                const std::vector<std::uint32_t>& test, const fs::path& folder,
                                const std::string& device) {
  if (auto made = make_folder(folder); !made) {
    return fail(made.error());
  }
  struct Part {
    const IdxArray& array;
    const std::vector<std::uint32_t>& indices;
    const char* name;
  };
  for (const Part& part : {Part{data.train_images, train, "train-images.idx3-ubyte"},
                           Part{data.train_labels, train, "train-labels.idx1-ubyte"},
                           Part{data.test_images, test, "test-images.idx3-ubyte"},
                           Part{data.test_labels, test, "test-labels.idx1-ubyte"}}) {
    if (auto written = write_part(part.array, part.indices, folder / part.name); !written) {
      return fail(written.error());
    }
  }
  DevicePart result{device, folder, train.size(), test.size(), {}};
  const std::uint8_t last_label = *std::ranges::max_element(data.train_labels.values);
  result.train_classes.resize(last_label + std::size_t{1});
  for (const std::uint32_t index : train) {
    ++result.train_classes[data.train_labels.values[index]];
  }
  return result;
}

}  // namespace

Result<Dataset> load_dataset(const fs::path& folder) {
  auto train_images = load_part(folder, {"train-images"}, "idx3-ubyte");
  auto train_labels = load_part(folder, {"train-labels"}, "idx1-ubyte");
  auto test_images = load_part(folder, {"test-images", "t10k-images"}, "idx3-ubyte");
  auto test_labels = load_part(folder, {"test-labels", "t10k-labels"}, "idx1-ubyte");
  for (const auto* part : {&train_images, &train_labels, &test_images, &test_labels}) {
    if (!*part) {
      return fail(part->error());
    }
  }
  if (auto checked = check_pair(*train_images, *train_labels, "train", folder); !checked) {
    return fail(checked.error());
  }
  if (auto checked = check_pair(*test_images, *test_labels, "test", folder); !checked) {
    return fail(checked.error());
  }
  if (!std::ranges::equal(train_images->dimensions.begin() + 1, train_images->dimensions.end(),
                          test_images->dimensions.begin() + 1, test_images->dimensions.end())) {
    return fail(ErrorKind::corrupt, "{}: train and test images differ in size", folder.string());
  }
  return Dataset{std::move(*train_images), std::move(*train_labels), std::move(*test_images), std::move(*test_labels)};
}

Result<std::vector<DevicePart>> write_parts(const Dataset& dataset, const Split& split, const fs::path& out,
                                            const std::string& prefix) {
  if (auto empty = check_empty(out); !empty) {
    return fail(empty.error());
  }
  std::vector<DevicePart> parts;
  for (std::size_t d = 0; d < split.train.size(); ++d) {
    const auto device = DeviceId::parse(fmt::format("{}{}", prefix, d + 1));
    if (!device) {
      return fail(device.error());
    }
    auto part = write_device(dataset, split.train[d], split.test[d], out / device->str(), device->str());
    if (!part) {
      return fail(part.error());
    }
    parts.push_back(std::move(*part));
  }
  return parts;
}

}  // namespace flops::partition
