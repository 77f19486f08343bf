#include <doctest/doctest.h>

#include "flops/models/dataset.hpp"
#include "flops/test/digits.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("idx: images and labels are read") {
  const TemporaryFolder folder;
  write_bytes(folder / "images", images_header(2, 1, 3) + std::string("\x01\x02\x03\xFF\xFE\xFD", 6));
  write_bytes(folder / "labels", labels_header(2) + std::string("\x07\x09", 2));
  const auto split = models::read_idx(folder / "images", folder / "labels");
  REQUIRE(split);
  CHECK(split->count == 2);
  CHECK(split->rows == 1);
  CHECK(split->columns == 3);
  CHECK(split->pixels == std::vector<std::uint8_t>{1, 2, 3, 255, 254, 253});
  CHECK(split->labels == std::vector<std::uint8_t>{7, 9});
}

TEST_CASE("idx: damaged and hostile files are refused with the file's name and a reason") {
  struct Row {
    const char* name;
    std::string images;
    std::string labels;
    const char* file;
    const char* reason;
  };
  const std::string good_images = images_header(2, 1, 2) + "abcd";
  const std::string good_labels = labels_header(2) + std::string(2, '\1');
  const Row rows[] = {
      {"empty", "", good_labels, "images", "too few"},
      {"truncated header", good_images.substr(0, 15), good_labels, "images", "too few"},
      {"truncated data", good_images.substr(0, 19), good_labels, "images", "has 19 bytes, but its header promises 20"},
      {"trailing bytes", good_images + "x", good_labels, "images", "has 21 bytes"},
      {"wrong magic", big_endian(0x0D03) + good_images.substr(4), good_labels, "images", "not an IDX file of images"},
      {"gzip", "\x1F\x8B" + good_images.substr(2), good_labels, "images", "gunzip"},
      {"labels in place of images", labels_header(2) + std::string(12, 'x'), good_labels, "images",
       "not an IDX file of images"},
      {"images in place of labels", good_images, good_images, "labels", "not an IDX file of labels"},
      {"no samples", images_header(0, 1, 2), labels_header(0), "images", "dimension 0 is 0"},
      {"no rows", images_header(2, 0, 2), good_labels, "images", "dimension 1 is 0"},
      {"endless samples", images_header(0xFFFFFFFF, 1, 2), good_labels, "images", "dimension 0 is 4294967295"},
      {"endless sides", images_header(2, 0xFFFFFFFF, 0xFFFFFFFF), good_labels, "images", "dimension 1 is 4294967295"},
      {"more than memory", images_header(1U << 24U, 4096, 4096), good_labels, "images", "exceed the limit"},
      {"promises a gigabyte", images_header(1'000'000, 28, 28), good_labels, "images", "has 16 bytes"},
      {"other number of labels", good_images, labels_header(1) + "x", "labels", "2 samples"},
      {"truncated labels", good_images, labels_header(2) + "x", "labels", "has 9 bytes"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const TemporaryFolder folder;
      write_bytes(folder / "images", row.images);
      write_bytes(folder / "labels", row.labels);
      const auto split = models::read_idx(folder / "images", folder / "labels");
      REQUIRE_FALSE(split);
      CHECK(split.error().kind == ErrorKind::permanent);
      CHECK_MESSAGE(split.error().what.find(row.reason) != std::string::npos, split.error().what);
      CHECK_MESSAGE(split.error().what.find((folder / row.file).string()) != std::string::npos, split.error().what);
    }
  }
}

TEST_CASE("idx: a table of numbers is read, and a logistic regression takes it") {
  const TemporaryFolder folder;
  const std::string header = big_endian(0x0D02) + big_endian(2) + big_endian(3);
  const std::string one_and_half = big_endian(0x3FC00000);
  write_bytes(folder / "rows", header + one_and_half + big_endian(0xC0000000) + std::string(4, '\0') + one_and_half +
                                   one_and_half + big_endian(0x3F800000));
  write_bytes(folder / "labels", labels_header(2) + std::string("\0\1", 2));
  const auto split = models::read_idx(folder / "rows", folder / "labels");
  REQUIRE(split);
  CHECK(split->count == 2);
  CHECK(split->rows == 1);
  CHECK(split->columns == 3);
  CHECK(split->pixels.empty());
  CHECK(split->numbers == std::vector<float>{1.5F, -2, 0, 1.5F, 1.5F, 1});
  const std::uint32_t second[] = {1};
  const models::Split part = models::subset(*split, second);
  CHECK(part.count == 1);
  CHECK(part.numbers == std::vector<float>{1.5F, 1.5F, 1});
  CHECK(part.labels == std::vector<std::uint8_t>{1});

  struct Row {
    const char* name;
    std::string rows;
    const char* reason;
  };
  for (const Row& row :
       {Row{"not a number", header + big_endian(0x7FC00000) + std::string(20, '\0'), "value 0 of sample 0 is nan"},
        Row{"truncated", header + one_and_half, "has 16 bytes, but its header promises 36"},
        Row{"endless", big_endian(0x0D02) + big_endian(0xFFFFFFFF) + big_endian(3), "dimension 0"},
        Row{"only a header", big_endian(0x0D02), "too few"}}) {
    CAPTURE(row.name);
    write_bytes(folder / "rows", row.rows);
    const auto refused = models::read_idx(folder / "rows", folder / "labels");
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().what.find(row.reason) != std::string::npos, refused.error().what);
  }
}

TEST_CASE("idx: what is not a regular file is refused at once") {
  const TemporaryFolder folder;
  write_bytes(folder / "labels", labels_header(1) + "x");
  SUBCASE("missing") {
    const auto split = models::read_idx(folder / "nothing", folder / "labels");
    REQUIRE_FALSE(split);
    CHECK(split.error().what.find("No such file") != std::string::npos);
  }
  SUBCASE("a folder") {
    const auto split = models::read_idx(folder / "", folder / "labels");
    REQUIRE_FALSE(split);
    CHECK(split.error().what.find("not a regular file") != std::string::npos);
  }
}

TEST_CASE("split cache: a split is read once, and again after its file changed") {
  const TemporaryFolder folder;
  write_digits(folder, "train", 20, 1);
  models::SplitCache cache;
  const auto first = cache.get(folder / "train-images", folder / "train-labels");
  const auto second = cache.get(folder / "train-images", folder / "train-labels");
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->get() == second->get());

  write_digits(folder, "train", 30, 1);
  const auto third = cache.get(folder / "train-images", folder / "train-labels");
  REQUIRE(third);
  CHECK((*third)->count == 30);
}

TEST_CASE("split cache: the split used longest ago makes room") {
  const TemporaryFolder folder;
  models::SplitCache cache;
  std::vector<std::weak_ptr<const models::Split>> splits;
  for (const char* name : {"a", "b", "c"}) {
    write_digits(folder, name, 10, 1);
    const auto split = cache.get(folder / (std::string(name) + "-images"), folder / (std::string(name) + "-labels"));
    REQUIRE(split);
    splits.emplace_back(*split);
  }
  CHECK(splits[0].expired());
  CHECK_FALSE(splits[1].expired());
  CHECK_FALSE(splits[2].expired());
}
