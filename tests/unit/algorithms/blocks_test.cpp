// The bytes of the result: the same however the vector is cut, and on every processor.
#include "support.hpp"

using namespace flops;
using namespace flops::algorithms;
using namespace flops::algorithms::testing;

namespace {

// Four rounds on a vector of 1001 elements; the model, then the state.
std::vector<std::uint32_t> run(const Spec& spec, std::size_t block) {
  const auto tested = algorithm(spec);
  Server server(*tested, random_values(9, 1001, 0.3F));
  Totals totals;
  REQUIRE(totals.add({100, 12}).has_value());
  REQUIRE(totals.add({41, 7}).has_value());
  for (std::uint64_t round = 0; round < 4; ++round) {
    server.step(*tested, random_values(10 + round, 1001, 0.3F), {totals, 3, 500}, block);
  }
  std::vector<std::uint32_t> bits = bits_of(server.model);
  for (const Values& vector : server.state) {
    const auto more = bits_of(vector);
    bits.insert(bits.end(), more.begin(), more.end());
  }
  return bits;
}

// FNV-1a over the little-endian bytes.
std::uint64_t fingerprint(const std::vector<std::uint32_t>& bits) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::uint32_t word : bits) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (word >> shift & 0xffU)) * 0x100000001b3U;
    }
  }
  return hash;
}

std::vector<Spec> specs() {
  std::vector<Spec> list;
  for (const Info& info : all()) {
    list.push_back(defaults(info.name));
    list.back().server_learning_rate = 0.37;
  }
  return list;
}

}  // namespace

TEST_CASE("algorithms: where blocks end does not change a byte") {
  for (const Spec& spec : specs()) {
    CAPTURE(spec.name);
    const auto whole = run(spec, 1001);
    for (const std::size_t block : {1U, 7U, 64U, 500U, 501U, 1000U}) {
      CHECK(run(spec, block) == whole);
    }
  }
}

TEST_CASE("algorithms: the bytes are the same on every processor") {
  const std::uint64_t expected[] = {
      0xd74911a184459d80U, 0xe3b2e24af81b2e61U, 0xd74911a184459d80U, 0x4a1bfe900f2a32c8U,
      0x48a8370cdf04acc5U, 0xd8cdfc662b07f32cU, 0xdf56aa12029bd0c0U, 0x829b99cebdc04076U,
  };
  const auto list = specs();
  REQUIRE(list.size() == std::size(expected));
  for (std::size_t i = 0; i < list.size(); ++i) {
    CAPTURE(list[i].name);
    CHECK(fingerprint(run(list[i], 100)) == expected[i]);
  }
}
