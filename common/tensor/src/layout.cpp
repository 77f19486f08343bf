#include "flops/tensor/layout.hpp"

#include <set>

#include "flops/crypto/digest.hpp"
#include "json_text.hpp"

namespace flops::tensor {
namespace {

constexpr std::size_t max_layout_text = 1U << 20U;
// The list, a tensor, its shape.
constexpr std::size_t layout_depth = 3;

Result<> check_name(const std::string& name, std::set<std::string>& seen) {
  if (name.empty() || name.size() > max_tensor_name) {
    return fail(ErrorKind::permanent, "a tensor name has 1 to {} bytes, not {}", max_tensor_name, name.size());
  }
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return fail(ErrorKind::permanent, "tensor '{}': control characters are not allowed in a name", printable(name));
    }
  }
  if (!is_utf8(name)) {
    return fail(ErrorKind::permanent, "tensor '{}': the name is not UTF-8", printable(name));
  }
  if (name == "__metadata__") {
    return fail(ErrorKind::permanent, "tensor '__metadata__': safetensors reserves this name");
  }
  if (!seen.insert(name).second) {
    return fail(ErrorKind::permanent, "tensor '{}' stands in the layout twice", printable(name));
  }
  return {};
}

Result<std::uint64_t> count_elements(const TensorSpec& tensor, std::uint64_t limit) {
  if (tensor.shape.size() > max_dimensions) {
    return fail(ErrorKind::permanent, "tensor '{}' has {} dimensions, at most {} are allowed", printable(tensor.name),
                tensor.shape.size(), max_dimensions);
  }
  std::uint64_t count = 1;
  for (const std::int64_t dimension : tensor.shape) {
    if (dimension <= 0) {
      return fail(ErrorKind::permanent, "tensor '{}' has a dimension of {}, at least 1 is needed",
                  printable(tensor.name), dimension);
    }
    if (static_cast<std::uint64_t>(dimension) > limit / count) {
      return fail(ErrorKind::permanent, "tensor '{}' takes the layout past {} parameters", printable(tensor.name),
                  max_parameters);
    }
    count *= static_cast<std::uint64_t>(dimension);
  }
  if (count > limit) {
    return fail(ErrorKind::permanent, "tensor '{}' takes the layout past {} parameters", printable(tensor.name),
                max_parameters);
  }
  return count;
}

Result<TensorSpec> read_tensor(const boost::json::value& value, std::size_t index) {
  const auto* pair = value.if_array();
  if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_array()) {
    return fail(ErrorKind::permanent, "layout: entry {} is not [name, [dimensions]]", index);
  }
  TensorSpec tensor;
  tensor.name = std::string_view((*pair)[0].get_string());
  for (const auto& dimension : (*pair)[1].get_array()) {
    const auto* number = dimension.if_int64();
    if (number == nullptr) {
      return fail(ErrorKind::permanent, "layout: entry {} has a dimension that is not a whole number", index);
    }
    tensor.shape.push_back(*number);
  }
  return tensor;
}

}  // namespace

Result<Layout> Layout::create(std::vector<TensorSpec> tensors) {
  if (tensors.empty() || tensors.size() > max_tensors) {
    return fail(ErrorKind::permanent, "a layout has 1 to {} tensors, not {}", max_tensors, tensors.size());
  }
  Layout layout;
  std::set<std::string> seen;
  for (TensorSpec& tensor : tensors) {
    if (auto named = check_name(tensor.name, seen); !named) {
      return fail(named.error());
    }
    const auto count = count_elements(tensor, max_parameters - layout.parameters_);
    if (!count) {
      return fail(count.error());
    }
    tensor.offset = layout.parameters_;
    tensor.count = *count;
    layout.parameters_ += *count;
  }
  layout.tensors_ = std::move(tensors);
  const std::string text = layout.canonical();
  if (text.size() > max_layout_text) {
    return fail(ErrorKind::permanent, "the layout's text has {} bytes, at most {} are allowed", text.size(),
                max_layout_text);
  }
  layout.id_ = crypto::sha256(text);
  return layout;
}

Result<Layout> Layout::parse(std::string_view canonical) {
  if (canonical.size() > max_layout_text) {
    return fail(ErrorKind::permanent, "layout: {} bytes of text, at most {} are allowed", canonical.size(),
                max_layout_text);
  }
  const auto value = parse_json(canonical, layout_depth);
  if (!value) {
    return fail(value.error(), "layout");
  }
  const auto* list = value->if_array();
  if (list == nullptr || list->size() > max_tensors) {
    return fail(ErrorKind::permanent, "layout: not a list of at most {} tensors", max_tensors);
  }
  std::vector<TensorSpec> tensors;
  for (const auto& entry : *list) {
    auto tensor = read_tensor(entry, tensors.size());
    if (!tensor) {
      return fail(tensor.error());
    }
    tensors.push_back(std::move(*tensor));
  }
  auto layout = create(std::move(tensors));
  if (!layout) {
    return fail(layout.error(), "layout");
  }
  // One layout, one text: else the same layout could be named by two ids.
  if (layout->canonical() != canonical) {
    return fail(ErrorKind::permanent, "layout: the text is not in canonical form");
  }
  return layout;
}

std::string Layout::canonical() const {
  std::string text = "[";
  for (const TensorSpec& tensor : tensors_) {
    text += text.size() > 1 ? ",[" : "[";
    append_json_string(text, tensor.name);
    text += fmt::format(",[{}]]", fmt::join(tensor.shape, ","));
  }
  text += ']';
  return text;
}

}  // namespace flops::tensor
