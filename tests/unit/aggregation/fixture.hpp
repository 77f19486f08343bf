// A folder with one model, and updates made from it.
#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/aggregation/round_sum.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::aggregation::testing {

inline constexpr std::size_t parameters = 150'000;  // more than two blocks

inline std::vector<float> random_values(unsigned seed, float around, const std::vector<float>& base = {}) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> spread(-around, around);
  std::vector<float> values(parameters);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = (base.empty() ? 0.0F : base[i]) + spread(random);
  }
  return values;
}

struct Fixture {
  test::TemporaryFolder folder;
  tensor::Layout layout = tensor::Layout::create({{"a.weight", {1000, 100}, 0, 0}, {"a.bias", {50'000}, 0, 0}}).value();
  ModelFolder models{folder.path()};
  std::vector<float> base = random_values(1, 0.1F);
  Digest base_digest;

  Fixture() : base_digest(store(base)) {}

  Digest store(const std::vector<float>& model) {
    const Digest digest = tensor::model_digest(layout, tensor::from_memory(model)).value();
    REQUIRE(tensor::write_safetensors(models.path_of(digest), layout, {}, tensor::from_memory(model)).has_value());
    return digest;
  }

  // The values against `from`; without a base when that is empty.
  StoredUpdate update_from(const std::vector<float>& from, const std::string& name, const std::vector<float>& values) {
    const auto file = folder / name;
    std::ofstream out(file, std::ios::binary);
    const auto encoded = tensor::encode(
        tensor::Codec::lossless, parameters, tensor::from_memory(values),
        from.empty() ? tensor::zeros() : tensor::from_memory(from), [&](std::span<const std::byte> bytes) -> Result<> {
          out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
          return {};
        });
    REQUIRE(encoded.has_value());
    out.close();
    return {file, std::filesystem::file_size(file)};
  }
  StoredUpdate update(const std::string& name, const std::vector<float>& values, bool complete = false) {
    return update_from(complete ? std::vector<float>() : base, name, values);
  }

  std::vector<float> values_of(const Digest& model) {
    auto file = models.open(model);
    REQUIRE(file.has_value());
    std::vector<float> values(parameters);
    REQUIRE(file->values()(0, values).has_value());
    return values;
  }
};

}  // namespace flops::aggregation::testing
