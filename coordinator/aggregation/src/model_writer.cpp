#include "model_writer.hpp"

#include <bit>

#include "model_header.hpp"

namespace flops::aggregation {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

ModelWriter::ModelWriter(const ModelFolder& models, const tensor::Layout& layout, PartFile file)
    : models_(&models), missing_(layout.parameters()), file_(std::move(file)) {
  digest_.update(std::as_bytes(std::span(layout.id().bytes())));
}

Result<ModelWriter> ModelWriter::open(const ModelFolder& models, const tensor::Layout& layout) {
  auto file = PartFile::create(models);
  if (!file) {
    return fail(file.error());
  }
  ModelWriter writer(models, layout, *std::move(file));
  const std::string header = model_header(layout);
  if (auto written = writer.write(std::as_bytes(std::span(header))); !written) {
    return fail(written.error());
  }
  return writer;
}

Result<> ModelWriter::write(std::span<const std::byte> bytes) {
  auto written = file_.write(bytes_, bytes);
  bytes_ += bytes.size();
  return written ? written : fail(written.error(), "the model");
}

Result<> ModelWriter::append(std::span<const float> values) {
  if (values.size() > missing_) {
    return fail(ErrorKind::bug, "more values than the layout has");
  }
  missing_ -= values.size();
  digest_.update(std::as_bytes(values));
  return write(std::as_bytes(values));
}

Result<NewModel> ModelWriter::finish() {
  if (missing_ != 0) {
    return fail(ErrorKind::corrupt, "{} values of the model are missing", missing_);
  }
  NewModel model{digest_.finish(), bytes_};
  if (auto stored = file_.finish(models_->path_of(model.digest)); !stored) {
    return fail(stored.error(), "the model");
  }
  return model;
}

}  // namespace flops::aggregation
