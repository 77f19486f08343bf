// The heavy steps of a task on anonymous files (memfd), for the worker's thread: blob -> model, trained model ->
// update.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/wire/messages.hpp"

namespace flops::agent {

using SharedFd = std::shared_ptr<Fd>;

struct AssembleInput {
  tensor::Layout layout;
  Digest model;  // what must come out
  wire::BlobRef blob;
  SharedFd blob_file;
  SharedFd delta_base;  // none: the blob is complete
};
struct Assembled {
  SharedFd model;  // raw float32; none when `error` is set
  // corrupt: the blob is damaged (fetch again). permanent: the blob is as announced, but not a model of this layout.
  std::optional<Error> error;
  // The blob is as announced and the decoded model is another one: for a delta, the base may be damaged here.
  bool wrong_model = false;
};
[[nodiscard]] Assembled assemble(const AssembleInput& input, const std::atomic<bool>& stop);

[[nodiscard]] Result<Digest> digest_of_model(const tensor::Layout& layout, int file, const std::atomic<bool>& stop);
// corrupt when the file's values are not the model `expected`.
[[nodiscard]] Result<> verify_model(const tensor::Layout& layout, const Digest& expected, int file,
                                    const std::atomic<bool>& stop);

struct EncodedUpdate {
  SharedFd file;  // may be longer than the update
  wire::BlobRef ref;
  std::string codec = wire::lossless_codec;
};
// permanent: values that are not finite (training diverged). `base` -1: none.
[[nodiscard]] Result<EncodedUpdate> encode_update(tensor::Codec codec, const tensor::Layout& layout, int values,
                                                  int base, const std::atomic<bool>& stop);

// A site's partial sum of `bytes` bytes as the update. permanent: the file has another size, or one that no sum of this
// layout has. What it says only the coordinator above can check.
[[nodiscard]] Result<EncodedUpdate> take_sum(const tensor::Layout& layout, const SharedFd& file, std::uint64_t bytes,
                                             const std::atomic<bool>& stop);

}  // namespace flops::agent
