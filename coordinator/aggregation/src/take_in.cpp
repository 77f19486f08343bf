#include <algorithm>
#include <cerrno>
#include <cmath>

#include <unistd.h>

#include "flops/aggregation/model_folder.hpp"
#include "flops/core/io.hpp"
#include "model_header.hpp"

namespace flops::aggregation {
namespace {

tensor::FloatSource finite(tensor::FloatSource values) {
  return [values = std::move(values)](std::uint64_t offset, std::span<float> into) -> Result<> {
    auto read = values(offset, into);
    if (read && !std::ranges::all_of(into, [](float value) { return std::isfinite(value); })) {
      return fail(ErrorKind::permanent, "it has NaN or infinite values");
    }
    return read;
  };
}

// Other bytes in front would be another file of the same model.
Result<> check_header(const tensor::SafetensorsFile& model) {
  const std::string header = model_header(model.layout);
  std::string found(header.size(), '\0');
  if (model.data_offset != header.size()) {
    return fail(ErrorKind::permanent, "its header has {} bytes, and {} where models are written here",
                model.data_offset, header.size());
  }
  if (auto read = read_at(model.fd.get(), 0, std::as_writable_bytes(std::span(found))); !read) {
    return read;
  }
  return found == header ? Result<>() : fail(ErrorKind::permanent, "its header is not as models are written here");
}

Result<> check(const tensor::SafetensorsFile& model, const Digest& expected, std::uint64_t max_parameters) {
  if (model.layout.parameters() > max_parameters) {
    return fail(ErrorKind::permanent, "it has {} parameters; limits.max_parameters is {}", model.layout.parameters(),
                max_parameters);
  }
  if (auto checked = check_header(model); !checked) {
    return checked;
  }
  auto digest = tensor::model_digest(model.layout, finite(model.values()));
  if (!digest) {
    return fail(digest.error());
  }
  return *digest == expected
             ? Result<>()
             : fail(ErrorKind::permanent, "it is the model {}, not {}", digest->short_hex(), expected.short_hex());
}

}  // namespace

Result<> take_in(const ModelFolder& models, const std::filesystem::path& file, const Digest& expected,
                 std::uint64_t max_parameters) {
  auto model = tensor::open_safetensors(file);
  if (!model) {
    const bool content = model.error().kind == ErrorKind::corrupt;
    return content ? fail(ErrorKind::permanent, "it is no model: {}", model.error().what) : fail(model.error());
  }
  if (auto checked = check(*model, expected, max_parameters); !checked) {
    return checked;
  }
  const std::filesystem::path name = models.path_of(expected);
  if (::fsync(model->fd.get()) != 0 || ::rename(file.c_str(), name.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("storing {}", name.string())));
  }
  return sync_folder(name.parent_path());
}

}  // namespace flops::aggregation
