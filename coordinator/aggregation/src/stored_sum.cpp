#include "flops/aggregation/round_sum.hpp"
#include "part_file.hpp"

namespace flops::aggregation {

Result<std::uint64_t> store_sum(const ModelFolder& models, const RoundSum& sum, const std::filesystem::path& file) {
  auto writing = PartFile::create(models);
  if (!writing) {
    return fail(writing.error());
  }
  std::uint64_t bytes = 0;
  auto written = sum.write([&](std::span<const std::byte> piece) -> Result<> {
    auto done = writing->write(bytes, piece);
    bytes += piece.size();
    return done;
  });
  if (!written) {
    return fail(written.error(), "the sum");
  }
  if (auto stored = writing->finish(file); !stored) {
    return fail(stored.error(), "the sum");
  }
  return bytes;
}

}  // namespace flops::aggregation
