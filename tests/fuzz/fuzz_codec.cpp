// Decodes arbitrary bytes; and takes them as values, which must come back bit for bit.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "flops/tensor/codec.hpp"

using namespace flops;
using namespace flops::tensor;

namespace {

ByteSource read_from(std::span<const std::byte> bytes) {
  return [bytes](std::span<std::byte> into) mutable -> Result<> {
    if (into.size() > bytes.size()) {
      return fail(ErrorKind::corrupt, "no more bytes");
    }
    std::ranges::copy(bytes.first(into.size()), into.begin());
    bytes = bytes.subspan(into.size());
    return {};
  };
}

void round_trip(const std::vector<float>& values) {
  std::vector<std::byte> blob;
  const auto append = [&blob](std::span<const std::byte> bytes) -> Result<> {
    blob.insert(blob.end(), bytes.begin(), bytes.end());
    return {};
  };
  std::vector<float> again(values.size());
  if (!encode(Codec::lossless, values.size(), from_memory(values), zeros(), append) ||
      blob.size() > max_encoded_bytes(Codec::lossless, values.size()) ||
      !decode(values.size(), blob.size(), read_from(blob), zeros(), to_memory(again)) ||
      (!values.empty() && std::memcmp(values.data(), again.data(), values.size() * sizeof(float)) != 0)) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 20) {
    return 0;
  }
  // The count the blob claims, so that the decoder gets past its header; small, so that cases stay fast.
  std::uint64_t count = 0;
  std::memcpy(&count, data + 8, sizeof count);
  count %= 3 * block_elements;
  std::vector<float> values(count);
  const auto bytes = std::as_bytes(std::span(data, size));
  if (decode(count, size, read_from(bytes), zeros(), to_memory(values))) {
    round_trip(values);
  }
  std::vector<float> raw(size / sizeof(float));
  std::memcpy(raw.data(), data, raw.size() * sizeof(float));
  round_trip(raw);
  return 0;
}
