// Models that somebody else made, and sums as files.
#include <doctest/doctest.h>

#include <limits>

#include "fixture.hpp"
#include "flops/core/file.hpp"

using namespace flops;
using namespace flops::aggregation;
using namespace flops::aggregation::testing;

namespace {

constexpr std::uint64_t most = 1'000'000;

std::filesystem::path written(Fixture& fixture, const std::vector<float>& values,
                              const std::map<std::string, std::string>& metadata = {{"format", "flops-edge"}}) {
  const auto file = fixture.models.unfinished_file();
  REQUIRE(tensor::write_safetensors(file, fixture.layout, metadata, tensor::from_memory(values)).has_value());
  return file;
}

}  // namespace

TEST_CASE("take in: a model gets its name, with the bytes it would have here") {
  Fixture fixture;
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum);
  const std::vector<float> values = random_values(5, 0.1F);
  REQUIRE((*sum)->add(fixture.update("u", values), {1, 1}, 1));
  const Digest digest = (*sum)->close(fixture.models)->digest;
  const std::string bytes = read_file(fixture.models.path_of(digest), 8U << 20U).value();
  std::filesystem::remove(fixture.models.path_of(digest));

  for (int twice = 0; twice < 2; ++twice) {  // putting it again changes nothing
    const auto file = written(fixture, values);
    const auto taken = take_in(fixture.models, file, digest, most);
    REQUIRE_MESSAGE(taken.has_value(), taken.error().what);
    CHECK_FALSE(std::filesystem::exists(file));
    CHECK(read_file(fixture.models.path_of(digest), 8U << 20U).value() == bytes);
  }
}

TEST_CASE("take in: what is not the model it claims to be is refused") {
  Fixture fixture;
  std::vector<float> values = random_values(5, 0.1F);
  Digest digest = tensor::model_digest(fixture.layout, tensor::from_memory(values)).value();
  std::filesystem::path file;
  std::string problem;
  std::uint64_t limit = most;
  SUBCASE("another model") {
    file = written(fixture, fixture.base);
    problem = "it is the model " + fixture.base_digest.short_hex();
  }
  SUBCASE("values that are not finite") {
    values[70'000] = std::numeric_limits<float>::quiet_NaN();
    digest = tensor::model_digest(fixture.layout, tensor::from_memory(values)).value();
    file = written(fixture, values);
    problem = "it has NaN or infinite values";
  }
  SUBCASE("too many parameters") {
    file = written(fixture, values);
    limit = parameters - 1;
    problem = "it has 150000 parameters; limits.max_parameters is 149999";
  }
  SUBCASE("another header of the same length") {
    file = written(fixture, values, {{"format", "flops-edgy"}});
    problem = "its header is not as models are written here";
  }
  SUBCASE("another header") {
    file = written(fixture, values, {});
    problem = "its header has ";
  }
  SUBCASE("no model at all") {
    file = fixture.models.unfinished_file();
    REQUIRE(replace_file(file, "hello").has_value());
    problem = "it is no model: ";
  }
  SUBCASE("nothing") {
    file = fixture.models.unfinished_file();
    REQUIRE(replace_file(file, "").has_value());
    problem = "it is no model: ";
  }
  const auto taken = take_in(fixture.models, file, digest, limit);
  REQUIRE_FALSE(taken.has_value());
  CHECK(taken.error().kind == ErrorKind::permanent);
  CHECK_MESSAGE(taken.error().what.starts_with(problem), taken.error().what);
  CHECK(std::filesystem::exists(file));
  CHECK_FALSE(std::filesystem::exists(fixture.models.path_of(digest)));
}

TEST_CASE("stored sum: its file is read as the sum it was, and replaces an older one") {
  Fixture fixture;
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum);
  REQUIRE((*sum)->add(fixture.update("u", random_values(5, 0.01F, fixture.base)), {30, 1}, 30));
  const auto file = fixture.folder / "sum";
  REQUIRE(replace_file(file, "older").has_value());
  const auto bytes = store_sum(fixture.models, **sum, file);
  REQUIRE_MESSAGE(bytes.has_value(), bytes.error().what);
  std::string expected;
  REQUIRE((*sum)->write([&](std::span<const std::byte> piece) -> Result<> {
    expected.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return {};
  }));
  CHECK(*bytes == expected.size());
  CHECK(read_file(file, 8U << 20U).value() == expected);
}
