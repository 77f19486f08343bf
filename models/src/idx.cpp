#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <sys/stat.h>

#include "flops/core/fd.hpp"
#include "flops/models/dataset.hpp"

namespace flops::models {
namespace {

// The third byte is the type, 0x08 unsigned bytes and 0x0D float32, the fourth the number of dimensions.
constexpr std::uint32_t magic_images = 0x0803;
constexpr std::uint32_t magic_table = 0x0D02;
constexpr std::uint32_t magic_labels = 0x0801;

struct IdxFile {
  Fd fd;
  std::string name;
  std::uint64_t size = 0;
};

Result<IdxFile> open_idx(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO in place of the file must not hang the worker.
  IdxFile file{Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), path.string(), 0};
  if (!file.fd.valid()) {
    return fail(ErrorKind::permanent, "{}: {}", file.name, std::strerror(errno));
  }
  struct stat info{};
  if (::fstat(file.fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(ErrorKind::permanent, "{}: not a regular file", file.name);
  }
  file.size = static_cast<std::uint64_t>(info.st_size);
  return file;
}

Result<> read_exactly(const IdxFile& file, std::uint64_t offset, std::span<std::uint8_t> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got =
        ::pread(file.fd.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return fail(ErrorKind::permanent, "{}: ends at byte {}: {}", file.name, offset + done,
                  got < 0 ? std::strerror(errno) : "end of file");
    }
    done += static_cast<std::size_t>(got);
  }
  return {};
}

std::uint32_t big_endian(std::span<const std::uint8_t> bytes) {
  return (std::uint32_t{bytes[0]} << 24U) | (std::uint32_t{bytes[1]} << 16U) | (std::uint32_t{bytes[2]} << 8U) |
         std::uint32_t{bytes[3]};
}

// The magic number and the dimensions, checked against the limits and the size of the file.
template <std::size_t Dimensions>
Result<std::array<std::uint32_t, Dimensions>> read_header(const IdxFile& file, std::uint32_t magic,
                                                          std::uint64_t value_bytes = 1) {
  std::array<std::uint8_t, 4 + 4 * Dimensions> bytes{};
  if (file.size < bytes.size()) {
    return fail(ErrorKind::permanent, "{}: {} bytes are too few for an IDX header", file.name, file.size);
  }
  if (auto read = read_exactly(file, 0, bytes); !read) {
    return fail(read.error());
  }
  const std::span<const std::uint8_t> header(bytes);
  if (big_endian(header) != magic) {
    const bool gzip = header[0] == 0x1F && header[1] == 0x8B;
    return fail(ErrorKind::permanent, "{}: not an IDX file of {}: starts with {:08x}, expected {:08x}{}", file.name,
                magic == magic_labels ? "labels" : "images", big_endian(header), magic,
                gzip ? "; it is compressed, use gunzip first" : "");
  }
  std::array<std::uint32_t, Dimensions> dimensions{};
  std::uint64_t bytes_wanted = value_bytes;
  for (std::size_t i = 0; i < Dimensions; ++i) {
    dimensions[i] = big_endian(header.subspan(4 + 4 * i));
    const std::uint32_t limit = i == 0 ? max_samples : max_image_side;
    if (dimensions[i] == 0 || dimensions[i] > limit) {
      return fail(ErrorKind::permanent, "{}: dimension {} is {}; it must be 1 to {}", file.name, i, dimensions[i],
                  limit);
    }
    bytes_wanted *= dimensions[i];  // at most 4 * 2^24 * 2^12 * 2^12: cannot overflow
  }
  if (bytes_wanted > max_split_bytes) {
    return fail(ErrorKind::permanent, "{}: {} bytes of data exceed the limit of {}", file.name, bytes_wanted,
                max_split_bytes);
  }
  if (file.size != bytes.size() + bytes_wanted) {
    return fail(ErrorKind::permanent, "{}: has {} bytes, but its header promises {}", file.name, file.size,
                bytes.size() + bytes_wanted);
  }
  return dimensions;
}

bool is_table(const IdxFile& file) {
  std::array<std::uint8_t, 4> magic{};
  return file.size >= magic.size() && read_exactly(file, 0, magic) && big_endian(magic) == magic_table;
}

Result<Split> read_images(const IdxFile& file) {
  const auto shape = read_header<3>(file, magic_images);
  if (!shape) {
    return fail(shape.error());
  }
  Split split{(*shape)[0], (*shape)[1], (*shape)[2], {}, {}, {}, file.name, {}};
  split.pixels.resize(split.count * split.sample_values());
  if (auto read = read_exactly(file, 16, split.pixels); !read) {
    return fail(read.error());
  }
  return split;
}

Result<Split> read_table(const IdxFile& file) {
  const auto shape = read_header<2>(file, magic_table, sizeof(float));
  if (!shape) {
    return fail(shape.error());
  }
  Split split{(*shape)[0], 1, (*shape)[1], {}, {}, {}, file.name, {}};
  std::vector<std::uint8_t> bytes(split.count * split.sample_values() * sizeof(float));
  if (auto read = read_exactly(file, 12, bytes); !read) {
    return fail(read.error());
  }
  split.numbers.resize(bytes.size() / sizeof(float));
  for (std::size_t i = 0; i < split.numbers.size(); ++i) {
    split.numbers[i] = std::bit_cast<float>(big_endian(std::span(bytes).subspan(i * sizeof(float), sizeof(float))));
    if (!std::isfinite(split.numbers[i])) {
      return fail(ErrorKind::permanent, "{}: value {} of sample {} is {}", file.name, i % split.sample_values(),
                  i / split.sample_values(), split.numbers[i]);
    }
  }
  return split;
}

}  // namespace

Result<Split> read_idx(const std::filesystem::path& samples, const std::filesystem::path& labels) {
  const auto images = open_idx(samples);
  if (!images) {
    return fail(images.error());
  }
  const auto marks = open_idx(labels);
  if (!marks) {
    return fail(marks.error());
  }
  auto read_samples = is_table(*images) ? read_table(*images) : read_images(*images);
  if (!read_samples) {
    return read_samples;
  }
  Split& split = *read_samples;
  const auto marked = read_header<1>(*marks, magic_labels);
  if (!marked) {
    return fail(marked.error());
  }
  if ((*marked)[0] != split.count) {
    return fail(ErrorKind::permanent, "{} has {} samples, but {} has {} labels", images->name, split.count, marks->name,
                (*marked)[0]);
  }
  split.labels_name = marks->name;
  split.labels.resize(split.count);
  if (auto read = read_exactly(*marks, 8, split.labels); !read) {
    return fail(read.error());
  }
  return read_samples;
}

Split subset(const Split& split, std::span<const std::uint32_t> indices) {
  Split part{static_cast<std::uint32_t>(indices.size()),
             split.rows,
             split.columns,
             {},
             {},
             {},
             split.samples_name,
             split.labels_name};
  const auto width = static_cast<std::ptrdiff_t>(split.sample_values());
  part.labels.reserve(indices.size());
  part.pixels.reserve(split.pixels.empty() ? 0 : indices.size() * split.sample_values());
  part.numbers.reserve(split.numbers.empty() ? 0 : indices.size() * split.sample_values());
  for (const std::uint32_t index : indices) {
    const std::ptrdiff_t at = index * width;
    if (!split.pixels.empty()) {
      part.pixels.insert(part.pixels.end(), split.pixels.begin() + at, split.pixels.begin() + at + width);
    } else {
      part.numbers.insert(part.numbers.end(), split.numbers.begin() + at, split.numbers.begin() + at + width);
    }
    part.labels.push_back(split.labels[index]);
  }
  return part;
}

}  // namespace flops::models
