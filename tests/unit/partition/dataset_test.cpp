#include "flops/partition/dataset.hpp"

#include <fstream>
#include <numeric>

#include <doctest/doctest.h>

#include "flops/test/temporary_folder.hpp"

namespace flops::partition {
namespace {

namespace fs = std::filesystem;

IdxArray images(std::uint32_t count, std::uint32_t side = 2) {
  IdxArray array{{count, side, side}, {}};
  for (std::uint32_t i = 0; i < count * side * side; ++i) {
    array.values.push_back(static_cast<std::uint8_t>(i % 251));
  }
  return array;
}

IdxArray labels(std::uint32_t count) {
  IdxArray array{{count}, {}};
  for (std::uint32_t i = 0; i < count; ++i) {
    array.values.push_back(static_cast<std::uint8_t>(i % 4));
  }
  return array;
}

void write(const fs::path& file, const IdxArray& array) {
  std::vector<std::uint32_t> all(array.samples());
  std::iota(all.begin(), all.end(), 0U);
  std::ofstream(file, std::ios::binary) << encode_idx(array, all);
}

void write_source(const fs::path& folder) {
  write(folder / "train-images-idx3-ubyte", images(40));
  write(folder / "train-labels-idx1-ubyte", labels(40));
  write(folder / "t10k-images-idx3-ubyte", images(12));
  write(folder / "t10k-labels-idx1-ubyte", labels(12));
}

TEST_CASE("dataset: parts on disk hold the samples of the split, and read back as data sets") {
  const test::TemporaryFolder folder;
  write_source(folder.path());
  const auto dataset = load_dataset(folder.path());
  REQUIRE(dataset);
  const auto scheme = Scheme::parse("dirichlet:0.5");
  REQUIRE(scheme);
  const auto parts_of = split(dataset->train_labels.values, dataset->test_labels.values, *scheme, 3, 9);
  REQUIRE(parts_of);
  const auto parts = write_parts(*dataset, *parts_of, folder.path() / "out", "device-");
  REQUIRE(parts);
  REQUIRE(parts->size() == 3);
  std::uint64_t train = 0;
  for (std::size_t d = 0; d < 3; ++d) {
    const DevicePart& part = (*parts)[d];
    CHECK(part.device == "device-" + std::to_string(d + 1));
    CHECK(part.folder == folder.path() / "out" / part.device);
    CHECK(fs::exists(part.folder / "test-labels.idx1-ubyte"));
    const auto mine = load_dataset(part.folder);
    REQUIRE(mine);
    CHECK(mine->train_images.samples() == part.train_samples);
    CHECK(mine->test_images.samples() == part.test_samples);
    CHECK(std::accumulate(part.train_classes.begin(), part.train_classes.end(), std::uint64_t{0}) ==
          part.train_samples);
    for (std::size_t i = 0; i < part.train_samples; ++i) {
      const std::uint32_t index = parts_of->train[d][i];
      CHECK(mine->train_labels.values[i] == dataset->train_labels.values[index]);
      CHECK(mine->train_images.values[4 * i] == dataset->train_images.values[std::size_t{4} * index]);
    }
    train += part.train_samples;
  }
  CHECK(train == 40);
}

TEST_CASE("dataset: a folder that holds something is not written into") {
  const test::TemporaryFolder folder;
  write_source(folder.path());
  const auto dataset = load_dataset(folder.path());
  REQUIRE(dataset);
  const Split everything{{{0, 1}}, {{0}}};
  const auto refused = write_parts(*dataset, everything, folder.path(), "device-");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().what.find("not an empty folder") != std::string::npos);
  const auto bad_prefix = write_parts(*dataset, everything, folder.path() / "out", "../device");
  REQUIRE_FALSE(bad_prefix);
  CHECK(bad_prefix.error().what.find("not a valid device id") != std::string::npos);
}

TEST_CASE("dataset: files that do not belong together are refused") {
  struct Row {
    const char* name;
    const char* file;
    IdxArray content;
    const char* message;
  };
  const std::vector<Row> rows{
      {"fewer labels than images", "train-labels-idx1-ubyte", labels(39), "40 train images, but 39 labels"},
      {"labels that are images", "train-labels-idx1-ubyte", images(40), "dimensions"},
      {"test images of another size", "t10k-images-idx3-ubyte", images(12, 3), "differ in size"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const test::TemporaryFolder folder;
      write_source(folder.path());
      write(folder.path() / row.file, row.content);
      const auto loaded = load_dataset(folder.path());
      REQUIRE_FALSE(loaded);
      CHECK(loaded.error().kind == ErrorKind::corrupt);
      CHECK(loaded.error().what.find(row.message) != std::string::npos);
    }
  }
}

TEST_CASE("dataset: a missing file is named") {
  const test::TemporaryFolder folder;
  write_source(folder.path());
  fs::remove(folder.path() / "t10k-labels-idx1-ubyte");
  const auto loaded = load_dataset(folder.path());
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().what.find("t10k-labels-idx1-ubyte") != std::string::npos);
}

}  // namespace
}  // namespace flops::partition
