#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/io.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/safetensors.hpp"
#include "safetensors_header.hpp"

namespace flops::tensor {
namespace {

constexpr std::uint64_t prefix_size = 8;

using Block = std::function<Result<>(std::span<const float>)>;

Result<> for_each_block(const Layout& layout, const FloatSource& values, const Block& take) {
  std::vector<float> block(std::min(layout.parameters(), block_elements));
  for (std::uint64_t offset = 0; offset < layout.parameters(); offset += block_elements) {
    const std::span<float> part(block.data(), std::min(block_elements, layout.parameters() - offset));
    if (auto read = values(offset, part); !read) {
      return read;
    }
    if (auto taken = take(part); !taken) {
      return taken;
    }
  }
  return {};
}

Result<> write_content(const std::filesystem::path& file, const std::string& header, const Layout& layout,
                       const FloatSource& values) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return fail(errno_error(errno, "creating"));
  }
  if (auto written = write_all(fd.get(), std::as_bytes(std::span(header))); !written) {
    return written;
  }
  auto written = for_each_block(
      layout, values, [&](std::span<const float> block) { return write_all(fd.get(), std::as_bytes(block)); });
  if (!written) {
    return written;
  }
  if (::fsync(fd.get()) != 0) {
    return fail(errno_error(errno, "syncing"));
  }
  return {};
}

Result<> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("renaming to {}", to.string())));
  }
  const std::filesystem::path folder = to.has_parent_path() ? to.parent_path() : ".";
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return fail(errno_error(errno, fmt::format("syncing folder {}", folder.string())));
  }
  return {};
}

Result<std::uint64_t> read_header_length(const ByteSource& bytes, std::uint64_t file_size) {
  std::array<std::byte, prefix_size> prefix{};
  if (file_size < prefix_size) {
    return fail(ErrorKind::corrupt, "{} bytes are too few for a safetensors file", file_size);
  }
  if (auto read = bytes(prefix); !read) {
    return fail(read.error());
  }
  std::uint64_t length = 0;
  for (std::size_t i = prefix_size; i-- > 0;) {
    length = length << 8U | std::to_integer<std::uint64_t>(prefix[i]);
  }
  if (length > max_safetensors_header) {
    return fail(ErrorKind::corrupt, "the header claims {} bytes, at most {} are allowed", length,
                max_safetensors_header);
  }
  if (length > file_size - prefix_size) {
    return fail(ErrorKind::corrupt, "the header claims {} bytes, the file has {}", length, file_size - prefix_size);
  }
  return length;
}

Result<SafetensorsFile> read_opened(Fd fd, std::uint64_t file_size) {
  const ByteSource bytes = bytes_of_file(fd.get(), file_size);
  const auto length = read_header_length(bytes, file_size);
  if (!length) {
    return fail(length.error());
  }
  std::string text(*length, '\0');
  if (auto read = bytes(std::as_writable_bytes(std::span(text))); !read) {
    return fail(read.error());
  }
  auto header = parse_safetensors_header(text);
  if (!header) {
    return fail(header.error());
  }
  const std::uint64_t data_offset = prefix_size + *length;
  const std::uint64_t data_bytes = file_size - data_offset;
  if (data_bytes != header->layout.bytes()) {
    return fail(ErrorKind::corrupt, "the header describes {} bytes of data, the file has {}", header->layout.bytes(),
                data_bytes);
  }
  return SafetensorsFile{std::move(fd), std::move(header->layout), data_offset, std::move(header->metadata)};
}

}  // namespace

Result<SafetensorsFile> open_safetensors(const std::filesystem::path& file) {
  // Non-blocking, so that a named pipe in place of the file cannot hold us.
  Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening {}", file.string())));
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) {
    return fail(errno_error(errno, fmt::format("examining {}", file.string())));
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorKind::corrupt, "{} is not a regular file", file.string());
  }
  auto opened = read_opened(std::move(fd), static_cast<std::uint64_t>(status.st_size));
  if (!opened) {
    return fail(opened.error(), file.string());
  }
  return opened;
}

Result<> write_safetensors(const std::filesystem::path& file, const Layout& layout,
                           const std::map<std::string, std::string>& metadata, const FloatSource& values) {
  const std::string header = safetensors_header(layout, metadata);
  if (header.size() - prefix_size > max_safetensors_header) {
    return fail(ErrorKind::permanent, "writing {}: the header has {} bytes, at most {} are allowed", file.string(),
                header.size() - prefix_size, max_safetensors_header);
  }
  // Never leave a file that we would refuse to read.
  if (auto readable = parse_safetensors_header(std::string_view(header).substr(prefix_size)); !readable) {
    return fail(ErrorKind::permanent, "writing {}: {}", file.string(), readable.error().what);
  }
  const std::filesystem::path temporary = file.string() + ".new";
  auto done = write_content(temporary, header, layout, values);
  if (done) {
    done = rename_durably(temporary, file);
  }
  if (!done) {
    ::unlink(temporary.c_str());
    return fail(done.error(), temporary.string());
  }
  return {};
}

Result<Digest> model_digest(const Layout& layout, const FloatSource& values) {
  crypto::Sha256 sha;
  sha.update(std::as_bytes(std::span(layout.id().bytes())));
  auto read = for_each_block(layout, values, [&](std::span<const float> block) -> Result<> {
    sha.update(std::as_bytes(block));
    return {};
  });
  if (!read) {
    return fail(read.error());
  }
  return sha.finish();
}

}  // namespace flops::tensor
