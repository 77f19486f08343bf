#include "safetensors_header.hpp"

#include <bit>
#include <cstring>
#include <utility>

#include "flops/tensor/safetensors.hpp"
#include "json_text.hpp"

namespace flops::tensor {
namespace {

namespace json = boost::json;

// The header, a tensor, its shape.
constexpr std::size_t header_depth = 3;
constexpr std::string_view metadata_key = "__metadata__";

struct Entry {
  TensorSpec spec;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

Result<std::map<std::string, std::string>> read_metadata(const json::value& value) {
  const auto* object = value.if_object();
  if (object == nullptr) {
    return fail(ErrorKind::corrupt, "__metadata__ is not an object");
  }
  std::map<std::string, std::string> metadata;
  for (const auto& item : *object) {
    const auto* text = item.value().if_string();
    if (text == nullptr) {
      return fail(ErrorKind::corrupt, "__metadata__: '{}' is not a string", printable(view(item.key())));
    }
    metadata.emplace(view(item.key()), std::string_view(*text));
  }
  return metadata;
}

// Whole numbers, not negative.
Result<std::vector<std::uint64_t>> read_numbers(const json::value* value, std::string_view tensor,
                                                std::string_view key) {
  const auto* array = value == nullptr ? nullptr : value->if_array();
  if (array == nullptr) {
    return fail(ErrorKind::corrupt, "tensor '{}': {} is missing or not a list", tensor, key);
  }
  std::vector<std::uint64_t> numbers;
  for (const auto& item : *array) {
    const auto* number = item.if_int64();
    if (number == nullptr || *number < 0) {
      return fail(ErrorKind::corrupt, "tensor '{}': {} holds something else than whole numbers from 0 up", tensor, key);
    }
    numbers.push_back(static_cast<std::uint64_t>(*number));
  }
  return numbers;
}

Result<Entry> read_entry(std::string_view name, const json::value& value) {
  const std::string shown = printable(name);
  const auto* object = value.if_object();
  if (object == nullptr || object->size() != 3) {
    return fail(ErrorKind::corrupt, "tensor '{}': not an object of dtype, shape and data_offsets", shown);
  }
  const auto* dtype = object->if_contains("dtype");
  if (dtype == nullptr || !dtype->is_string()) {
    return fail(ErrorKind::corrupt, "tensor '{}': dtype is missing or not a string", shown);
  }
  if (dtype->get_string() != "F32") {
    return fail(ErrorKind::corrupt, "tensor '{}': dtype {} is not supported, only F32 is", shown,
                printable(std::string_view(dtype->get_string())));
  }
  const auto shape = read_numbers(object->if_contains("shape"), shown, "shape");
  if (!shape) {
    return fail(shape.error());
  }
  const auto offsets = read_numbers(object->if_contains("data_offsets"), shown, "data_offsets");
  if (!offsets) {
    return fail(offsets.error());
  }
  if (offsets->size() != 2) {
    return fail(ErrorKind::corrupt, "tensor '{}': data_offsets has {} numbers, not 2", shown, offsets->size());
  }
  Entry entry{{std::string(name), {}, 0, 0}, (*offsets)[0], (*offsets)[1]};
  for (const std::uint64_t dimension : *shape) {
    entry.spec.shape.push_back(static_cast<std::int64_t>(dimension));
  }
  return entry;
}

// Every tensor begins where the one before ends and is as long as its shape says: no holes, no overlap, in order.
Result<Layout> place(const std::vector<Entry>& entries) {
  std::vector<TensorSpec> specs;
  specs.reserve(entries.size());
  for (const Entry& entry : entries) {
    specs.push_back(entry.spec);
  }
  auto layout = Layout::create(std::move(specs));
  if (!layout) {
    return fail(ErrorKind::corrupt, "{}", layout.error().what);
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const TensorSpec& tensor = layout->tensors()[i];
    const std::uint64_t begin = tensor.offset * sizeof(float);
    const std::uint64_t end = begin + tensor.count * sizeof(float);
    if (entries[i].begin != begin || entries[i].end != end) {
      return fail(ErrorKind::corrupt,
                  "tensor '{}': data_offsets are [{},{}] and must be [{},{}]: tensors lie in order, without holes or "
                  "overlap, each as long as its shape says",
                  printable(tensor.name), entries[i].begin, entries[i].end, begin, end);
    }
  }
  return layout;
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors_header(std::string_view text) {
  if (!text.starts_with('{')) {
    return fail(ErrorKind::corrupt, "the header does not begin with '{{'");
  }
  const auto value = parse_json(text, header_depth);
  if (!value) {
    return fail(ErrorKind::corrupt, "header: {}", value.error().what);
  }
  SafetensorsHeader header;
  std::vector<Entry> entries;
  for (const auto& item : value->get_object()) {
    if (view(item.key()) == metadata_key) {
      auto metadata = read_metadata(item.value());
      if (!metadata) {
        return fail(metadata.error());
      }
      header.metadata = std::move(*metadata);
      continue;
    }
    auto entry = read_entry(view(item.key()), item.value());
    if (!entry) {
      return fail(entry.error());
    }
    entries.push_back(std::move(*entry));
  }
  auto layout = place(entries);
  if (!layout) {
    return fail(layout.error());
  }
  header.layout = std::move(*layout);
  return header;
}

std::string safetensors_header(const Layout& layout, const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (bool first = true; const auto& [key, value] : metadata) {
      text += std::exchange(first, false) ? "" : ",";
      append_json_string(text, key);
      text += ':';
      append_json_string(text, value);
    }
    text += '}';
  }
  for (const TensorSpec& tensor : layout.tensors()) {
    const std::uint64_t begin = tensor.offset * sizeof(float);
    text += text.size() > 1 ? "," : "";
    append_json_string(text, tensor.name);
    text += fmt::format(R"(:{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", fmt::join(tensor.shape, ","),
                        begin, begin + tensor.count * sizeof(float));
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  std::uint64_t length = text.size();
  std::string prefix;
  for (int i = 0; i < 8; ++i, length >>= 8U) {
    prefix += static_cast<char>(length & 0xffU);
  }
  return prefix + text;
}

}  // namespace flops::tensor
