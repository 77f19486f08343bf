// What is written of parameters: updates, exact sums, models. Updates and sums are compressed, so their digests are
// also of the zstd of Debian 12.
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/safetensors.hpp"
#include "flops/test/temporary_folder.hpp"
#include "inputs.hpp"

namespace flops::golden {
namespace {

using tensor::Accumulator;

Accumulator empty_sum() {
  auto created = Accumulator::create(layout(), {4, 7, 4});
  REQUIRE(created.has_value());
  return *std::move(created);
}

// Of five devices with different weights, one of them late.
Accumulator sum_of_updates() {
  Accumulator sum = empty_sum();
  for (std::uint32_t device = 1; device <= 4; ++device) {
    REQUIRE(sum.add(0, values(device, 2.0F), device * 1'009).has_value());
    sum.count(device * 1'009);
  }
  const auto from = values(11, 1.0F);
  const auto to = values(12, 1.0F);
  const auto now = values(13, 1.0F);
  REQUIRE(sum.add_step(0, {from, to, now}, 77).has_value());
  sum.count(77);
  return sum;
}

std::vector<std::byte> written(const Accumulator& sum) {
  std::vector<std::byte> bytes;
  REQUIRE(sum.write(append_to(bytes)).has_value());
  return bytes;
}

std::vector<float> mean_of(const Accumulator& sum) {
  std::vector<float> mean(layout().parameters());
  REQUIRE(sum.mean(tensor::to_memory(mean)).has_value());
  return mean;
}

}  // namespace

TEST_CASE("golden: a layout has this identity on every machine") {
  CHECK(layout().id().hex() == "96f65324ee701efab95f052c7d7e9edccf7a09bf6fe71870b43d4b593ebe7113");
}

TEST_CASE("golden: an update has these bytes on every machine") {
  const auto base = values(20, 1.0F);
  auto trained = base;
  const auto change = values(21, 0x1p-10F);
  for (std::size_t i = 0; i < trained.size(); ++i) {
    trained[i] += change[i];
  }
  std::vector<std::byte> bytes;
  REQUIRE(tensor::encode(tensor::Codec::lossless, trained.size(), tensor::from_memory(trained),
                         tensor::from_memory(base), append_to(bytes))
              .has_value());
  CHECK(digest_of(bytes) == "3dea7b3b8d0d6f8516716f852ccce9ec7dd728d0d92ab25706221f9a0f6e91df");
}

TEST_CASE("golden: a partial sum has these bytes on every machine") {
  CHECK(digest_of(written(sum_of_updates())) == "4fc9527887be7e16e459ae552069a343578a5fc82d371ab9c729090823bd654b");
}

TEST_CASE("golden: partial sums of clusters, merged, have the bytes of one sum") {
  Accumulator top = empty_sum();
  for (const std::uint64_t cluster : {31U, 32U}) {
    Accumulator part = empty_sum();
    REQUIRE(part.add(0, values(cluster, 4.0F), 600).has_value());
    part.count(600);
    REQUIRE(top.merge(part).has_value());
  }
  REQUIRE(top.multiply(16).has_value());
  CHECK(digest_of(written(top)) == "32008299fb44ef9f55cdeca30744ba715bbc4628767beae8a9d286137115e1e1");
}

TEST_CASE("golden: the mean of a round is this model on every machine") {
  const auto digest = tensor::model_digest(layout(), tensor::from_memory(mean_of(sum_of_updates())));
  REQUIRE(digest.has_value());
  CHECK(digest->hex() == "ebf37c3809832a2d94748e9acc7c7de5450c5ff43ebd61e26b1c15a8d9948bce");
}

TEST_CASE("golden: scales chosen from a model are these on every machine") {
  auto base = values(40, 0x1p-3F);
  base.back() = 0x1p20F;
  const auto scales = tensor::choose_scales(layout(), tensor::from_memory(base));
  REQUIRE(scales.has_value());
  CHECK(*scales == tensor::Scales{5, 5, 29});
}

TEST_CASE("golden: a safetensors file has these bytes on every machine") {
  const test::TemporaryFolder folder;
  REQUIRE(tensor::write_safetensors(folder / "model", layout(), {{"format", "pt"}, {"round", "7"}},
                                    tensor::from_memory(values(50, 8.0F)))
              .has_value());
  std::ifstream file(folder / "model", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  CHECK(digest_of(std::as_bytes(std::span(text))) ==
        "e6ebf8edc41e2b7d8356297c2427ccad5d8d24c6b650146134b6b8dfe9bbaada");
}

}  // namespace flops::golden
