#include "flops/tensor/codec.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "flops/tensor/layout.hpp"
#include "plane_stream.hpp"
#include "planes.hpp"

namespace flops::tensor {
namespace {

// magic, format version, codec, two zero bytes, u64 elements, u32 elements a block
constexpr std::size_t header_size = 20;
constexpr std::array<std::uint8_t, 4> magic{'F', 'L', 'P', 'V'};
constexpr std::uint8_t format_version = 1;
constexpr std::uint8_t lossless_code = 0;

using Header = std::array<std::byte, header_size>;

Header make_header(std::uint64_t count) {
  Header header{};
  std::ranges::transform(magic, header.begin(), [](std::uint8_t c) { return static_cast<std::byte>(c); });
  header[4] = static_cast<std::byte>(format_version);
  header[5] = static_cast<std::byte>(lossless_code);
  store_number(&header[8], count, 8);
  store_number(&header[16], block_elements, 4);
  return header;
}

Result<> check_header(const Header& header, std::uint64_t count) {
  const Header wanted = make_header(count);
  if (!std::equal(magic.begin(), magic.end(), header.begin(),
                  [](std::uint8_t c, std::byte b) { return std::to_integer<std::uint8_t>(b) == c; })) {
    return fail(ErrorKind::corrupt, "not an encoded parameter vector: the magic bytes are missing");
  }
  if (header[4] != wanted[4]) {
    return fail(ErrorKind::corrupt, "format version {} is not known, only {} is", load_number(&header[4], 1),
                format_version);
  }
  if (header[5] != wanted[5]) {
    return fail(ErrorKind::corrupt, "codec {} is not known", load_number(&header[5], 1));
  }
  if (load_number(&header[6], 2) != 0) {
    return fail(ErrorKind::corrupt, "the reserved header bytes are not zero");
  }
  if (load_number(&header[8], 8) != count) {
    return fail(ErrorKind::corrupt, "holds {} values, the layout has {}", load_number(&header[8], 8), count);
  }
  if (header != wanted) {
    return fail(ErrorKind::corrupt, "blocks of {} values, only {} is allowed", load_number(&header[16], 4),
                block_elements);
  }
  return {};
}

Result<> check_count(std::uint64_t count) {
  if (count > max_parameters) {
    return fail(ErrorKind::permanent, "{} values, at most {} are allowed", count, max_parameters);
  }
  return {};
}

Result<> decode_blocks(std::uint64_t count, CountedReader& in, const FloatSource& base, const FloatSink& out) {
  const auto capacity = static_cast<std::size_t>(std::min(count, block_elements));
  auto stream = PlaneStream::create(in, capacity);
  if (!stream) {
    return fail(stream.error());
  }
  Planes planes(capacity);
  std::vector<float> values(capacity);
  for (std::uint64_t offset = 0; offset < count; offset += block_elements) {
    const auto part = std::span(values).first(std::min<std::uint64_t>(block_elements, count - offset));
    for (std::size_t i = 0; i < plane_count; ++i) {
      if (auto read = stream->read(planes.plane(i, part.size())); !read) {
        return fail(read.error(), fmt::format("block {}, plane {}", offset / block_elements, i));
      }
    }
    if (auto read = base(offset, part); !read) {
      return read;
    }
    planes.join(part);
    if (auto written = out(offset, part); !written) {
      return written;
    }
  }
  return {};
}

Result<> encode_blocks(std::uint64_t count, const FloatSource& values, const FloatSource& base, const ByteSink& out) {
  auto writer = PlaneWriter::create();
  if (!writer) {
    return fail(writer.error());
  }
  const auto capacity = static_cast<std::size_t>(std::min(count, block_elements));
  Planes planes(capacity);
  std::vector<float> value_block(capacity);
  std::vector<float> base_block(capacity);
  std::vector<std::byte> bytes;
  for (std::uint64_t offset = 0; offset < count; offset += block_elements) {
    const std::size_t size = std::min<std::uint64_t>(block_elements, count - offset);
    if (auto read = values(offset, std::span(value_block).first(size)); !read) {
      return read;
    }
    if (auto read = base(offset, std::span(base_block).first(size)); !read) {
      return read;
    }
    planes.split(std::span(value_block).first(size), std::span(base_block).first(size));
    bytes.clear();
    for (std::size_t i = 0; i < plane_count; ++i) {
      if (auto appended = writer->append(planes.plane(i, size), bytes); !appended) {
        return appended;
      }
    }
    if (auto written = out(bytes); !written) {
      return written;
    }
  }
  return {};
}

}  // namespace

std::string_view to_string(Codec codec) {
  switch (codec) {
    case Codec::lossless: return "lossless";
  }
  return "unknown";
}

Result<Codec> parse_codec(std::string_view name) {
  if (name == to_string(Codec::lossless)) {
    return Codec::lossless;
  }
  return fail(ErrorKind::permanent, "codec '{}' is not known, use lossless", name.substr(0, 32));
}

std::uint64_t max_encoded_bytes(Codec /*codec*/, std::uint64_t count) {
  const std::uint64_t blocks = count / block_elements + (count % block_elements != 0 ? 1 : 0);
  return header_size + blocks * plane_count * plane_prefix + count * sizeof(float);
}

Result<> encode(Codec /*codec*/, std::uint64_t count, const FloatSource& values, const FloatSource& base,
                const ByteSink& out) {
  if (auto checked = check_count(count); !checked) {
    return checked;
  }
  if (auto written = out(make_header(count)); !written) {
    return written;
  }
  return encode_blocks(count, values, base, out);
}

Result<> decode(std::uint64_t count, std::uint64_t encoded_bytes, const ByteSource& in, const FloatSource& base,
                const FloatSink& out) {
  if (auto checked = check_count(count); !checked) {
    return checked;
  }
  if (encoded_bytes > max_encoded_bytes(Codec::lossless, count)) {
    return fail(ErrorKind::corrupt, "{} bytes are more than {} values can take", encoded_bytes, count);
  }
  CountedReader reader(in, encoded_bytes);
  Header header{};
  if (auto read = reader.read(header); !read) {
    return read;
  }
  if (auto checked = check_header(header, count); !checked) {
    return checked;
  }
  if (auto decoded = decode_blocks(count, reader, base, out); !decoded) {
    return decoded;
  }
  if (reader.left() != 0) {
    return fail(ErrorKind::corrupt, "{} bytes follow the last block", reader.left());
  }
  return {};
}

}  // namespace flops::tensor
