#include "flops/agent_data/idx.hpp"

#include <array>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/fd.hpp"

namespace flops::agent {
namespace {

constexpr std::size_t max_header = 16;
constexpr std::uint8_t unsigned_byte = 8;

struct Header {
  std::vector<std::uint32_t> dimensions;
};

Result<std::uint64_t> values_of(const Header& header) {
  std::uint64_t values = 1;
  for (const std::uint32_t dimension : header.dimensions) {
    if (__builtin_mul_overflow(values, std::uint64_t{dimension}, &values)) {
      return fail(ErrorKind::permanent, "its dimensions overflow");
    }
  }
  return values;
}

Result<Header> parse_header(const std::array<std::uint8_t, max_header>& bytes, std::size_t count) {
  if (count < 4 || bytes[0] != 0 || bytes[1] != 0 || bytes[2] != unsigned_byte) {
    return fail(ErrorKind::permanent, "not an IDX file of unsigned bytes");
  }
  const std::size_t dimensions = bytes[3];
  if (dimensions < 1 || dimensions > 3 || count < 4 + 4 * dimensions) {
    return fail(ErrorKind::permanent, "{} dimensions; 1 to 3 are supported", dimensions);
  }
  Header header;
  for (std::size_t i = 0; i < dimensions; ++i) {
    const std::size_t at = 4 + 4 * i;
    header.dimensions.push_back(std::uint32_t{bytes[at]} << 24U | std::uint32_t{bytes[at + 1]} << 16U |
                                std::uint32_t{bytes[at + 2]} << 8U | std::uint32_t{bytes[at + 3]});
  }
  return header;
}

Result<Header> read_header(const std::filesystem::path& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info{};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return fail(errno_error(errno, "opening it"));
  }
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorKind::permanent, "not a regular file");
  }
  std::array<std::uint8_t, max_header> bytes{};
  const ssize_t count = ::pread(fd.get(), bytes.data(), bytes.size(), 0);
  if (count < 0) {
    return fail(errno_error(errno, "reading it"));
  }
  auto header = parse_header(bytes, static_cast<std::size_t>(count));
  if (!header) {
    return header;
  }
  auto values = values_of(*header);
  if (!values) {
    return fail(values.error());
  }
  const std::uint64_t prefix = 4 + 4 * header->dimensions.size();
  if (static_cast<std::uint64_t>(info.st_size) < prefix ||
      static_cast<std::uint64_t>(info.st_size) - prefix != *values) {
    return fail(ErrorKind::permanent, "{} bytes long, but its header announces {} values", info.st_size, *values);
  }
  return header;
}

}  // namespace

Result<std::uint64_t> count_idx_samples(const std::filesystem::path& samples, const std::filesystem::path& labels) {
  auto sample_header = read_header(samples);
  if (!sample_header) {
    return fail(sample_header.error(), samples.string());
  }
  auto label_header = read_header(labels);
  if (!label_header) {
    return fail(label_header.error(), labels.string());
  }
  if (label_header->dimensions.size() != 1) {
    return fail(ErrorKind::permanent, "{}: labels have 1 dimension, this file has {}", labels.string(),
                label_header->dimensions.size());
  }
  if (sample_header->dimensions[0] != label_header->dimensions[0]) {
    return fail(ErrorKind::permanent, "{} holds {} samples, {} holds {} labels", samples.string(),
                sample_header->dimensions[0], labels.string(), label_header->dimensions[0]);
  }
  return std::uint64_t{sample_header->dimensions[0]};
}

}  // namespace flops::agent
