// Partial sums as bytes (docs/protocol-codec.md).
#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "flops/tensor/accumulator.hpp"
#include "limb_planes.hpp"
#include "plane_stream.hpp"

namespace flops::tensor {
namespace {

// magic, format version, three zero bytes, layout id, u64 total weight, u32 tensors, u32 elements a block; then the
// scales, one signed byte each
constexpr std::size_t header_size = 56;
constexpr std::size_t weight_at = 40;
constexpr std::string_view magic = "FLPS";
constexpr std::uint8_t format_version = 1;
static_assert(min_scale >= -128 && max_scale <= 127);

std::uint64_t blocks_of(std::uint64_t count) {
  return (count + block_elements - 1) / block_elements;
}

std::vector<std::byte> make_header(const Layout& layout, const Scales& scales, std::uint64_t weight) {
  std::vector<std::byte> header(header_size + scales.size());
  std::ranges::copy(std::as_bytes(std::span(magic)), header.begin());
  header[4] = static_cast<std::byte>(format_version);
  std::ranges::copy(std::as_bytes(std::span(layout.id().bytes())), header.begin() + 8);
  store_number(&header[weight_at], weight, 8);
  store_number(&header[48], scales.size(), 4);
  store_number(&header[52], block_elements, 4);
  std::ranges::transform(scales, header.begin() + header_size,
                         [](int scale) { return static_cast<std::byte>(static_cast<std::uint8_t>(scale)); });
  return header;
}

// The total weight, if everything else is as it has to be.
Result<std::uint64_t> check_header(std::span<const std::byte> header, std::span<const std::byte> wanted) {
  const auto same = [&](std::size_t from, std::size_t size) {
    return std::ranges::equal(header.subspan(from, size), wanted.subspan(from, size));
  };
  if (!same(0, magic.size())) {
    return fail(ErrorKind::corrupt, "not a partial sum: the magic bytes are missing");
  }
  if (!same(4, 1)) {
    return fail(ErrorKind::corrupt, "format version {} is not known, only {} is", load_number(&header[4], 1),
                format_version);
  }
  if (!same(5, 3)) {
    return fail(ErrorKind::corrupt, "the reserved header bytes are not zero");
  }
  if (!same(8, 32) || !same(48, 4)) {
    return fail(ErrorKind::corrupt, "a partial sum of another layout");
  }
  if (!same(52, 4)) {
    return fail(ErrorKind::corrupt, "blocks of {} values, only {} is allowed", load_number(&header[52], 4),
                block_elements);
  }
  if (!same(header_size, wanted.size() - header_size)) {
    return fail(ErrorKind::corrupt, "a partial sum with other scales");
  }
  const std::uint64_t weight = load_number(&header[weight_at], 8);
  if (weight == 0 || weight > max_total_weight) {
    return fail(ErrorKind::corrupt, "a total weight of {}, not between 1 and {}", weight, max_total_weight);
  }
  return weight;
}

Result<> check_size(const Layout& layout, std::uint64_t bytes) {
  const std::uint64_t tables = header_size + layout.tensors().size();
  // A plane has at least one byte behind its prefix.
  const std::uint64_t least = tables + blocks_of(layout.parameters()) * limb_plane_count * (plane_prefix + 1);
  if (bytes < least) {
    return fail(ErrorKind::corrupt, "truncated: {} bytes, at least {} are needed", bytes, least);
  }
  if (bytes > max_partial_sum_bytes(layout)) {
    return fail(ErrorKind::corrupt, "{} bytes are more than a partial sum of {} values can take", bytes,
                layout.parameters());
  }
  return {};
}

}  // namespace

std::uint64_t max_partial_sum_bytes(const Layout& layout) {
  const std::uint64_t count = layout.parameters();
  return header_size + layout.tensors().size() + blocks_of(count) * limb_plane_count * plane_prefix +
         count * limb_plane_count;
}

Result<> Accumulator::write(const ByteSink& out) const {
  if (total_weight_ == 0) {
    return fail(ErrorKind::permanent, "a partial sum of nothing");
  }
  if (auto written = out(make_header(layout_, scales_, total_weight_)); !written) {
    return written;
  }
  return write_blocks(out);
}

Result<> Accumulator::write_blocks(const ByteSink& out) const {
  auto writer = PlaneWriter::create();
  if (!writer) {
    return fail(writer.error());
  }
  const std::uint64_t count = layout_.parameters();
  LimbPlanes planes(static_cast<std::size_t>(std::min(count, block_elements)));
  std::vector<std::byte> bytes;
  for (std::uint64_t offset = 0; offset < count; offset += block_elements) {
    const auto size = static_cast<std::size_t>(std::min(block_elements, count - offset));
    planes.split({high_.data() + offset, size}, {low_.data() + offset, size});
    bytes.clear();
    for (std::size_t i = 0; i < limb_plane_count; ++i) {
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

Result<Accumulator> Accumulator::read(const Layout& layout, const Scales& scales, std::uint64_t bytes,
                                      const ByteSource& in) {
  if (auto checked = check_size(layout, bytes); !checked) {
    return fail(checked.error(), "partial sum refused");
  }
  CountedReader reader(in, bytes);
  const std::vector<std::byte> wanted = make_header(layout, scales, 0);
  std::vector<std::byte> header(wanted.size());
  if (auto read = reader.read(header); !read) {
    return fail(read.error(), "partial sum refused");
  }
  auto weight = check_header(header, wanted);
  if (!weight) {
    return fail(weight.error(), "partial sum refused");
  }
  auto sum = create(layout, scales);
  if (!sum) {
    return sum;
  }
  sum->total_weight_ = *weight;
  if (auto read = sum->read_blocks(reader); !read) {
    return fail(read.error(), "partial sum refused");
  }
  return sum;
}

Result<> Accumulator::read_blocks(CountedReader& in) {
  const std::uint64_t count = layout_.parameters();
  const auto capacity = static_cast<std::size_t>(std::min(count, block_elements));
  auto stream = PlaneStream::create(in, capacity);
  if (!stream) {
    return fail(stream.error());
  }
  LimbPlanes planes(capacity);
  for (std::uint64_t offset = 0; offset < count; offset += block_elements) {
    const auto size = static_cast<std::size_t>(std::min(block_elements, count - offset));
    for (std::size_t i = 0; i < limb_plane_count; ++i) {
      if (auto read = stream->read(planes.plane(i, size)); !read) {
        return fail(read.error(), fmt::format("block {}, plane {}", offset / block_elements, i));
      }
    }
    if (!planes.join({high_.data() + offset, size}, {low_.data() + offset, size}, total_weight_)) {
      return fail(ErrorKind::corrupt, "block {} has sums beyond what a total weight of {} allows",
                  offset / block_elements, total_weight_);
    }
  }
  return in.left() == 0 ? Result<>() : fail(ErrorKind::corrupt, "{} bytes follow the last block", in.left());
}

}  // namespace flops::tensor
