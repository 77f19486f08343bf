#include "flops/partition/idx.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>

#include <zlib.h>

namespace flops::partition {

namespace {

// Puts up to into.size() bytes and says how many; fewer only at the end.
using Reader = std::function<Result<std::size_t>(std::span<std::uint8_t> into)>;

constexpr std::uint8_t unsigned_byte = 0x08;
constexpr std::size_t block = 1U << 20U;

std::uint32_t big_endian(std::span<const std::uint8_t, 4> bytes) {
  return (std::uint32_t{bytes[0]} << 24U) | (std::uint32_t{bytes[1]} << 16U) | (std::uint32_t{bytes[2]} << 8U) |
         std::uint32_t{bytes[3]};
}

Result<> read_exactly(const Reader& reader, std::span<std::uint8_t> into, std::string_view name) {
  auto got = reader(into);
  if (!got) {
    return fail(got.error());
  }
  if (*got != into.size()) {
    return fail(ErrorKind::corrupt, "{}: the IDX header is cut off", name);
  }
  return {};
}

Result<std::vector<std::uint32_t>> read_header(const Reader& reader, std::string_view name) {
  std::array<std::uint8_t, 4> magic{};
  if (auto read = read_exactly(reader, magic, name); !read) {
    return fail(read.error());
  }
  if (magic[0] != 0 || magic[1] != 0) {
    return fail(ErrorKind::corrupt, "{}: not an IDX file (it starts with {:02x} {:02x}, not 00 00)", name, magic[0],
                magic[1]);
  }
  if (magic[2] != unsigned_byte) {
    return fail(ErrorKind::corrupt, "{}: IDX elements of type 0x{:02x}; only unsigned bytes (0x08) are read", name,
                magic[2]);
  }
  if (magic[3] == 0 || magic[3] > max_idx_dimensions) {
    return fail(ErrorKind::corrupt, "{}: an IDX array of {} dimensions; 1 to {} are read", name, magic[3],
                max_idx_dimensions);
  }
  std::vector<std::uint32_t> dimensions;
  for (std::size_t i = 0; i < magic[3]; ++i) {
    std::array<std::uint8_t, 4> size{};
    if (auto read = read_exactly(reader, size, name); !read) {
      return fail(read.error());
    }
    dimensions.push_back(big_endian(size));
  }
  return dimensions;
}

Result<std::uint64_t> checked_size(const std::vector<std::uint32_t>& dimensions, std::uint64_t limit,
                                   std::string_view name) {
  std::uint64_t total = 1;
  for (const std::uint32_t size : dimensions) {
    if (size == 0) {
      return fail(ErrorKind::corrupt, "{}: an IDX array without elements", name);
    }
    if (__builtin_mul_overflow(total, std::uint64_t{size}, &total) || total > limit) {
      return fail(ErrorKind::corrupt, "{}: the IDX header claims more than {} bytes, the limit", name, limit);
    }
  }
  return total;
}

Result<IdxArray> read_idx(const Reader& reader, std::string_view name, std::uint64_t limit) {
  auto dimensions = read_header(reader, name);
  if (!dimensions) {
    return fail(dimensions.error());
  }
  const auto total = checked_size(*dimensions, limit, name);
  if (!total) {
    return fail(total.error());
  }
  IdxArray array{std::move(*dimensions), {}};
  while (array.values.size() < *total) {
    const std::size_t have = array.values.size();
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(block, *total - have));
    array.values.resize(have + want);
    const auto got = reader(std::span(array.values).subspan(have, want));
    if (!got) {
      return fail(got.error());
    }
    if (*got != want) {
      return fail(ErrorKind::corrupt, "{}: cut off: {} of {} bytes are there", name, have + *got, *total);
    }
  }
  std::array<std::uint8_t, 1> extra{};
  const auto trailing = reader(extra);
  if (!trailing) {
    return fail(trailing.error());
  }
  if (*trailing != 0) {
    return fail(ErrorKind::corrupt, "{}: more bytes than the {} its IDX header says", name, *total);
  }
  return array;
}

}  // namespace

Result<IdxArray> parse_idx(std::span<const std::byte> bytes, std::string_view name, std::uint64_t limit) {
  const Reader reader = [&bytes](std::span<std::uint8_t> into) -> Result<std::size_t> {
    const std::size_t count = std::min(into.size(), bytes.size());
    if (count > 0) {
      std::memcpy(into.data(), bytes.data(), count);
    }
    bytes = bytes.subspan(count);
    return count;
  };
  return read_idx(reader, name, limit);
}

Result<IdxArray> load_idx(const std::filesystem::path& file, std::uint64_t limit) {
  errno = 0;
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> input(::gzopen(file.c_str(), "rbe"), &::gzclose);
  if (input == nullptr) {
    return fail(errno_error(errno == 0 ? ENOMEM : errno, "opening " + file.string()));
  }
  const Reader reader = [&](std::span<std::uint8_t> into) -> Result<std::size_t> {
    const int count = ::gzread(input.get(), into.data(), static_cast<unsigned>(into.size()));
    int code = Z_OK;
    const char* message = ::gzerror(input.get(), &code);
    // zlib calls a stream that ends too early Z_BUF_ERROR, and still hands out what it has.
    if (count < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      return fail(ErrorKind::corrupt, "{}: the gzip data is damaged or cut off: {}", file.string(), message);
    }
    return static_cast<std::size_t>(count);
  };
  return read_idx(reader, file.string(), limit);
}

std::string encode_idx(const IdxArray& array, std::span<const std::uint32_t> indices) {
  const std::size_t sample = array.sample_bytes();
  std::string out;
  out.reserve(4 + 4 * array.dimensions.size() + indices.size() * sample);
  out += {'\0', '\0', static_cast<char>(unsigned_byte), static_cast<char>(array.dimensions.size())};
  for (std::size_t i = 0; i < array.dimensions.size(); ++i) {
    const std::uint32_t size = i == 0 ? static_cast<std::uint32_t>(indices.size()) : array.dimensions[i];
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      out += static_cast<char>((size >> shift) & 0xFFU);
    }
  }
  for (const std::uint32_t index : indices) {
    const auto from = array.values.begin() + static_cast<std::ptrdiff_t>(index * sample);
    out.append(from, from + static_cast<std::ptrdiff_t>(sample));
  }
  return out;
}

}  // namespace flops::partition
