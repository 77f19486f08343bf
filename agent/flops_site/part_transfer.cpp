#include "part_transfer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include <unistd.h>

#include "flops/core/io.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/safetensors.hpp"

namespace flops::site {
namespace {

// As coordinators write them, so that the bytes of a model's file follow from the model.
std::string header_of(const tensor::Layout& layout) {
  return tensor::safetensors_header(layout, {{"format", "flops-edge"}});
}

std::string path_of_model(const Digest& model) {
  return "/v1/models/" + model.hex();
}

Result<> resize(int file, std::uint64_t bytes) {
  if (::ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    return fail(errno_error(errno, fmt::format("making room for {} bytes", bytes)));
  }
  return {};
}

// A body that goes into a file behind what must come first.
class Arriving {
 public:
  Arriving(std::string header, int file, const Alive& alive) : header_(std::move(header)), file_(file), alive_(alive) {}

  Result<> take(std::span<const std::byte> bytes) {
    if (auto go_on = alive_(); !go_on) {
      return go_on;
    }
    if (at_ < header_.size()) {
      const std::size_t n = std::min(header_.size() - static_cast<std::size_t>(at_), bytes.size());
      if (std::memcmp(header_.data() + at_, bytes.data(), n) != 0) {
        return fail(ErrorKind::permanent, "the site's model has another layout than announced, or another format");
      }
      at_ += n;
      bytes = bytes.subspan(n);
    }
    auto written = bytes.empty() ? Result<>() : write_at(file_, at_ - header_.size(), bytes);
    at_ += bytes.size();
    return written;
  }
  [[nodiscard]] std::uint64_t arrived() const { return at_; }

 private:
  const std::string header_;
  const int file_;
  const Alive& alive_;
  std::uint64_t at_ = 0;
};

Result<> fetch_exactly(const SiteApi& api, const std::string& path, std::uint64_t bytes, Arriving& into) {
  auto answer = api.get(path, bytes, [&](std::span<const std::byte> piece) { return into.take(piece); });
  if (!answer) {
    return fail(answer.error());
  }
  if (answer->status != 200) {
    return fail(refusal("GET " + path, *answer));
  }
  if (into.arrived() != bytes) {
    return fail(ErrorKind::permanent, "GET {}: {} bytes came, not {}", path, into.arrived(), bytes);
  }
  return {};
}

}  // namespace

Result<> send_model(const SiteApi& api, const Digest& model, const tensor::Layout& layout, int file,
                    const Alive& alive) {
  const std::string header = header_of(layout);
  std::uint64_t at = 0;
  const auto source = [&](std::span<std::byte> into) -> Result<> {
    if (auto go_on = alive(); !go_on) {
      return go_on;
    }
    if (at < header.size()) {
      const std::size_t n = std::min(header.size() - static_cast<std::size_t>(at), into.size());
      std::memcpy(into.data(), header.data() + at, n);
      at += n;
      into = into.subspan(n);
    }
    auto read = into.empty() ? Result<>() : read_at(file, at - header.size(), into);
    at += into.size();
    return read;
  };
  auto answer = api.put(path_of_model(model), header.size() + layout.bytes(), source);
  if (!answer) {
    return fail(answer.error(), "sending the base model to the site");
  }
  const bool taken = answer->status == 200 || answer->status == 201;
  return taken ? Result<>() : fail(refusal("the base model", *answer));
}

Result<> fetch_model(const SiteApi& api, const Digest& model, const tensor::Layout& layout, int file,
                     const Alive& alive) {
  if (auto sized = resize(file, layout.bytes()); !sized) {
    return sized;
  }
  const std::string header = header_of(layout);
  Arriving arriving(header, file, alive);
  if (auto fetched = fetch_exactly(api, path_of_model(model), header.size() + layout.bytes(), arriving); !fetched) {
    return fail(fetched.error(), "fetching the site's model");
  }
  const auto digest = tensor::model_digest(layout, tensor::from_file(file, 0));
  if (!digest) {
    return fail(digest.error());
  }
  if (*digest != model) {
    return fail(ErrorKind::permanent, "the site's model is {}, its coordinator named {}", digest->short_hex(),
                model.short_hex());
  }
  return {};
}

Result<> fetch_sum(const SiteApi& api, const std::string& key, const tensor::Layout& layout, std::uint64_t bytes,
                   int file, const Alive& alive) {
  const std::uint64_t most = tensor::max_partial_sum_bytes(layout);
  if (bytes == 0 || bytes > most) {
    return fail(ErrorKind::permanent, "the site announces a sum of {} bytes; this model's has 1 to {}", bytes, most);
  }
  if (auto sized = resize(file, bytes); !sized) {
    return sized;
  }
  Arriving arriving({}, file, alive);
  auto fetched = fetch_exactly(api, fmt::format("/v1/parts/{}/sum", key), bytes, arriving);
  return fetched ? fetched : fail(fetched.error(), "fetching the site's sum");
}

}  // namespace flops::site
