#include "model_writer.hpp"

#include <bit>
#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "flops/core/io.hpp"

namespace flops::aggregation {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

namespace {
constexpr std::string_view unfinished_prefix = "new-";
constexpr std::string_view unfinished_suffix = ".part";
}  // namespace

std::filesystem::path ModelFolder::unfinished_file() const {
  return folder_ /
         fmt::format("{}{}{}", unfinished_prefix, crypto::base64url(crypto::random_bytes(9)), unfinished_suffix);
}

Result<> ModelFolder::remove_unfinished() const {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(unfinished_prefix) && name.ends_with(unfinished_suffix)) {
      std::filesystem::remove(entry->path(), error);
    }
  }
  return error ? fail(errno_error(error.value(), fmt::format("removing unfinished models in {}", folder_.string())))
               : Result<>();
}

ModelWriter::ModelWriter(const ModelFolder& models, const tensor::Layout& layout, std::filesystem::path temporary,
                         Fd fd)
    : models_(&models), missing_(layout.parameters()), temporary_(std::move(temporary)), fd_(std::move(fd)) {
  digest_.update(std::as_bytes(std::span(layout.id().bytes())));
}

ModelWriter::ModelWriter(ModelWriter&& other) noexcept
    : models_(other.models_),
      missing_(other.missing_),
      bytes_(other.bytes_),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::move(other.fd_)),
      digest_(std::move(other.digest_)) {}

ModelWriter::~ModelWriter() {
  if (!temporary_.empty()) {
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
  }
}

Result<ModelWriter> ModelWriter::open(const ModelFolder& models, const tensor::Layout& layout) {
  const std::filesystem::path temporary = models.unfinished_file();
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating {}", temporary.string())));
  }
  ModelWriter writer(models, layout, temporary, std::move(fd));
  const std::string header = tensor::safetensors_header(layout, {{"format", "flops-edge"}});
  if (auto written = writer.write(std::as_bytes(std::span(header))); !written) {
    return fail(written.error());
  }
  return writer;
}

Result<> ModelWriter::write(std::span<const std::byte> bytes) {
  bytes_ += bytes.size();
  auto written = write_all(fd_.get(), bytes);
  return written ? written : fail(written.error(), fmt::format("writing the model {}", temporary_.string()));
}

Result<> ModelWriter::append(std::span<const float> values) {
  if (values.size() > missing_) {
    return fail(ErrorKind::bug, "more values than the layout has");
  }
  missing_ -= values.size();
  digest_.update(std::as_bytes(values));
  const std::uint64_t offset = bytes_;
  auto written = write(std::as_bytes(values));
  // The disk works while the rest is computed; without this all of it waits for the sync at the end.
  (void)::sync_file_range(fd_.get(), static_cast<off64_t>(offset), static_cast<off64_t>(values.size_bytes()),
                          SYNC_FILE_RANGE_WRITE);
  return written;
}

Result<NewModel> ModelWriter::finish() {
  if (missing_ != 0) {
    return fail(ErrorKind::corrupt, "{} values of the model are missing", missing_);
  }
  const Digest digest = digest_.finish();
  const std::filesystem::path file = models_->path_of(digest);
  if (::fsync(fd_.get()) != 0 || ::rename(temporary_.c_str(), file.c_str()) != 0) {
    return fail(errno_error(errno, fmt::format("storing the model {}", file.string())));
  }
  temporary_.clear();
  if (auto synced = sync_folder(file.parent_path()); !synced) {
    return fail(synced.error());
  }
  return NewModel{digest, bytes_};
}

}  // namespace flops::aggregation
