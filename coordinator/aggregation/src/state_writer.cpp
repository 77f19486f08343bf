#include "state_writer.hpp"

namespace flops::aggregation {

Result<StateWriter> StateWriter::open(const ModelFolder& models, const tensor::Layout& layout, std::size_t vectors) {
  auto file = PartFile::create(models);
  if (!file) {
    return fail(file.error());
  }
  const std::string header = tensor::safetensors_header(layout, {{"format", "flops-edge-state"}});
  if (auto written = file->write(0, std::as_bytes(std::span(header))); !written) {
    return fail(written.error(), "the state");
  }
  StateWriter writer(models, layout.id(), *std::move(file));
  const std::uint64_t bytes = layout.bytes() / vectors;
  for (std::size_t k = 0; k < vectors; ++k) {
    const std::uint64_t begin = header.size() + k * bytes;
    writer.vectors_.push_back({begin + bytes, begin, {}});
  }
  return writer;
}

Result<> StateWriter::append(std::size_t k, std::span<const float> values) {
  Vector& vector = vectors_[k];
  if (values.size_bytes() > vector.end - vector.at) {
    return fail(ErrorKind::bug, "more values than the state has");
  }
  vector.digest.update(std::as_bytes(values));
  const std::uint64_t at = std::exchange(vector.at, vector.at + values.size_bytes());
  auto written = file_.write(at, std::as_bytes(values));
  return written ? written : fail(written.error(), "the state");
}

Result<Digest> StateWriter::finish() {
  crypto::Sha256 digest;
  digest.update(std::as_bytes(std::span(layout_.bytes())));
  for (Vector& vector : vectors_) {
    if (vector.at != vector.end) {
      return fail(ErrorKind::bug, "{} bytes of the state are missing", vector.end - vector.at);
    }
    digest.update(std::as_bytes(std::span(vector.digest.finish().bytes())));
  }
  const Digest name = digest.finish();
  if (auto stored = file_.finish(models_->state_path_of(name)); !stored) {
    return fail(stored.error(), "the state");
  }
  return name;
}

}  // namespace flops::aggregation
