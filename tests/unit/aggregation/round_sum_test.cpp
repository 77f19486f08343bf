#include <doctest/doctest.h>

#include <array>
#include <fstream>
#include <limits>

#include <fcntl.h>
#include <unistd.h>

#include "fixture.hpp"

using namespace flops;
using namespace flops::aggregation;
using namespace flops::aggregation::testing;

TEST_CASE("round sum: the model is the weighted mean, the same bytes in every order") {
  Fixture fixture;
  const std::uint32_t weights[] = {100, 7, 1234};
  std::vector<std::vector<float>> locals;
  std::vector<StoredUpdate> updates;
  for (unsigned i = 0; i < 3; ++i) {
    locals.push_back(random_values(10 + i, 0.01F, fixture.base));
    updates.push_back(fixture.update("u" + std::to_string(i), locals.back()));
  }
  Digest first;
  for (const auto& order : {std::array{0, 1, 2}, std::array{2, 0, 1}, std::array{1, 2, 0}}) {
    auto sum = RoundSum::open(fixture.models, fixture.base_digest);
    REQUIRE(sum.has_value());
    for (const int i : order) {
      REQUIRE((*sum)->add(updates[static_cast<std::size_t>(i)], {weights[i], 1}, weights[i]).has_value());
    }
    const auto model = (*sum)->close(fixture.models);
    REQUIRE(model.has_value());
    first = first.empty() ? model->digest : first;
    CHECK(model->digest == first);
  }
  const std::vector<float> mean = fixture.values_of(first);
  CHECK(tensor::model_digest(fixture.layout, tensor::from_memory(mean)).value() == first);
  for (std::size_t i = 0; i < parameters; i += 97) {
    const double expected = (100.0 * locals[0][i] + 7.0 * locals[1][i] + 1234.0 * locals[2][i]) / 1341.0;
    CHECK(mean[i] == doctest::Approx(expected).epsilon(1e-6));
  }
}

TEST_CASE("model folder: what a killed program was writing is removed, models stay") {
  const Fixture fixture;
  const auto unfinished = fixture.models.unfinished_file();
  std::ofstream(unfinished) << "half a model";
  REQUIRE(std::filesystem::exists(unfinished));
  CHECK(fixture.models.unfinished_file() != unfinished);
  CHECK(fixture.models.remove_unfinished().has_value());
  CHECK_FALSE(std::filesystem::exists(unfinished));
  CHECK(fixture.models.open(fixture.base_digest).has_value());
  CHECK_FALSE(ModelFolder(fixture.folder / "missing").remove_unfinished().has_value());
}

TEST_CASE("round sum: a refused update leaves no trace, wherever it goes wrong") {
  Fixture fixture;
  const auto good = fixture.update("good", random_values(20, 0.01F, fixture.base));
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum.has_value());
  REQUIRE((*sum)->add(good, {1, 1}, 10).has_value());
  const Digest expected = (*sum)->close(fixture.models).value().digest;

  std::vector<float> bad = random_values(21, 0.01F, fixture.base);
  StoredUpdate update;
  ErrorKind kind = ErrorKind::permanent;
  SUBCASE("NaN in the first block") {
    bad[0] = std::numeric_limits<float>::quiet_NaN();
    update = fixture.update("bad", bad);
  }
  SUBCASE("infinity in the last block") {
    bad[parameters - 1] = -std::numeric_limits<float>::infinity();
    update = fixture.update("bad", bad);
  }
  SUBCASE("a value out of range in the middle") {
    bad[parameters / 2] = 1e30F;
    update = fixture.update("bad", bad);
  }
  SUBCASE("truncated in the last block") {
    update = fixture.update("bad", bad);
    std::filesystem::resize_file(update.file, update.bytes - 5);
    update.bytes -= 5;
    kind = ErrorKind::corrupt;
  }
  SUBCASE("garbage behind") {
    update = fixture.update("bad", bad);
    std::ofstream(update.file, std::ios::app) << "x";
    update.bytes += 1;
    kind = ErrorKind::corrupt;
  }
  const auto refused = (*sum)->add(update, {1, 1}, 99);
  REQUIRE_FALSE(refused.has_value());
  CHECK_MESSAGE(refused.error().kind == kind, refused.error().what);
  CHECK((*sum)->total_weight() == 10);
  CHECK((*sum)->close(fixture.models).value().digest == expected);
}

TEST_CASE("round sum: no weight and an empty round are refused") {
  Fixture fixture;
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum.has_value());
  CHECK_FALSE((*sum)->close(fixture.models).has_value());
  const auto update = fixture.update("u", fixture.base);
  CHECK_FALSE((*sum)->add(update, {1, 1}, 0).has_value());
  CHECK((*sum)->add(update, {1, 1}, tensor::max_total_weight).has_value());
  CHECK_FALSE((*sum)->add(update, {1, 1}, 1).has_value());
}

TEST_CASE("model: the initial one is stored as it came, the way to the devices and back is exact") {
  Fixture fixture;
  const auto stored = store_initial_model(fixture.models, fixture.layout, fixture.update("init", fixture.base, true));
  REQUIRE(stored.has_value());
  CHECK(stored->digest == fixture.base_digest);

  auto blobs = blob::FileStore::open(fixture.folder / "blobs").value();
  const std::vector<float> next = random_values(30, 0.001F, fixture.base);
  const Digest next_digest = tensor::model_digest(fixture.layout, tensor::from_memory(next)).value();
  REQUIRE(tensor::write_safetensors(fixture.models.path_of(next_digest), fixture.layout, {}, tensor::from_memory(next))
              .has_value());
  for (const Digest& base : {Digest(), fixture.base_digest}) {
    const auto encoded = encode_model(fixture.models, blobs, next_digest, base);
    REQUIRE(encoded.has_value());
    const Fd fd(::open(blobs.path_of(encoded->blob).c_str(), 0));
    std::vector<float> decoded(parameters);
    const auto done =
        tensor::decode(parameters, encoded->bytes, tensor::bytes_of_file(fd.get(), encoded->bytes),
                       base.empty() ? tensor::zeros() : tensor::from_memory(fixture.base), tensor::to_memory(decoded));
    REQUIRE(done.has_value());
    CHECK(decoded == next);
  }
}

TEST_CASE("model: an initial one that is not finite or incomplete is refused, and nothing is left behind") {
  Fixture fixture;
  auto values = fixture.base;
  values[5] = std::numeric_limits<float>::infinity();
  const auto before = std::distance(std::filesystem::directory_iterator(fixture.folder.path()), {});
  CHECK_FALSE(store_initial_model(fixture.models, fixture.layout, fixture.update("bad", values, true)).has_value());
  CHECK(std::distance(std::filesystem::directory_iterator(fixture.folder.path()), {}) ==
        before + 1);  // the update itself
}
