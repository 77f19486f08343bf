#include <charconv>

#include "fields.hpp"

namespace flops::wire {

void Writer::json(const char* name, const std::string& text, std::size_t /*limit*/) {
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(text, error);
  out_[name] = !error && value.is_object() ? std::move(value) : boost::json::value(boost::json::object());
}

void Reader::wrong(const char* name, std::string_view what) {
  if (!problem_) {
    problem_ = fmt::format("'{}': {}", name, what);
  }
}

const boost::json::value* Reader::find_optional(const char* name) const {
  const boost::json::value* value = problem_ ? nullptr : in_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const boost::json::value* Reader::find(const char* name) {
  const boost::json::value* value = find_optional(name);
  if (value == nullptr) {
    wrong(name, "missing");
  }
  return value;
}

std::optional<std::int64_t> Reader::read_integer(const char* name, std::int64_t min, std::int64_t max) {
  const boost::json::value* value = find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  boost::system::error_code error;
  const auto number = value->is_double() ? (error = boost::json::error::not_exact, std::int64_t{0})
                                         : value->to_number<std::int64_t>(error);
  if (error || number < min || number > max) {
    wrong(name, fmt::format("expected an integer from {} to {}", min, max));
    return std::nullopt;
  }
  return number;
}

const boost::json::array* Reader::read_array(const char* name, std::size_t limit) {
  const boost::json::value* value = find(name);
  if (value == nullptr) {
    return nullptr;
  }
  const boost::json::array* array = value->if_array();
  if (array == nullptr || array->size() > limit) {
    wrong(name, fmt::format("expected an array of at most {}", limit));
    return nullptr;
  }
  return array;
}

const boost::json::object* Reader::read_object(const char* name) {
  const boost::json::value* value = find(name);
  if (value == nullptr) {
    return nullptr;
  }
  if (value->if_object() == nullptr) {
    wrong(name, "expected an object");
  }
  return value->if_object();
}

void Reader::text(const char* name, std::string& value, std::size_t limit) {
  const boost::json::value* found = find(name);
  if (found == nullptr) {
    return;
  }
  const auto* string = found->if_string();
  if (string == nullptr || string->size() > limit) {
    wrong(name, fmt::format("expected text of at most {} bytes", limit));
    return;
  }
  value.assign(string->data(), string->size());
}

void Reader::json(const char* name, std::string& text, std::size_t limit) {
  const boost::json::object* found = read_object(name);
  if (found == nullptr) {
    return;
  }
  std::string serialized = boost::json::serialize(*found);
  if (serialized.size() > limit) {
    wrong(name, fmt::format("expected an object of at most {} bytes", limit));
    return;
  }
  text = std::move(serialized);
}

void Reader::boolean(const char* name, bool& value) {
  const boost::json::value* found = find(name);
  if (found != nullptr && found->is_bool()) {
    value = found->get_bool();
  } else {
    wrong(name, "expected true or false");
  }
}

void Reader::number(const char* name, double& value, double min, double max) {
  const boost::json::value* found = find(name);
  if (found == nullptr) {
    return;
  }
  boost::system::error_code error;
  const double read = found->to_number<double>(error);
  if (error || !(read >= min && read <= max)) {
    wrong(name, fmt::format("expected a number from {} to {}", min, max));
    return;
  }
  value = read;
}

void Reader::wide(const char* name, std::uint64_t& value) {
  std::string raw;
  text(name, raw, 20);
  const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  if (error != std::errc() || end != raw.data() + raw.size()) {
    wrong(name, "expected a decimal number of 64 bits, as text");
  }
}

void Reader::digest(const char* name, Digest& value) {
  std::string raw;
  text(name, raw, 2 * Digest::size);
  auto parsed = Digest::from_hex(raw);
  if (!parsed) {
    wrong(name, parsed.error().what);
    return;
  }
  value = *parsed;
}

void Reader::optional_digest(const char* name, Digest& value) {
  if (find_optional(name) != nullptr) {
    digest(name, value);
  }
}

void Reader::optional_blob(const char* name, std::optional<BlobRef>& value) {
  if (find_optional(name) == nullptr) {
    return;
  }
  BlobRef blob;
  object(name, blob, [](Reader& inner, BlobRef& ref) {
    inner.digest("sha256", ref.sha256);
    inner.integer("size", ref.size, 1, 4LL << 30U);
  });
  value = blob;
}

void Reader::text_map(const char* name, std::map<std::string, std::string>& value, std::size_t entries,
                      std::size_t key_limit, std::size_t text_limit) {
  const boost::json::object* found = read_object(name);
  if (found == nullptr) {
    return;
  }
  if (found->size() > entries) {
    wrong(name, fmt::format("at most {} entries", entries));
    return;
  }
  for (const auto& [key, item] : *found) {
    const auto* string = item.if_string();
    if (key.size() > key_limit || string == nullptr || string->size() > text_limit) {
      wrong(name, fmt::format("keys of at most {} bytes, text of at most {}", key_limit, text_limit));
      return;
    }
    value.emplace(std::string(key), std::string(string->data(), string->size()));
  }
}

void Reader::digests(const char* name, std::vector<Digest>& values, std::size_t limit) {
  const boost::json::array* array = read_array(name, limit);
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    const auto* string = (*array)[i].if_string();
    auto parsed = Digest::from_hex(string == nullptr ? std::string_view() : std::string_view(*string));
    if (!parsed) {
      wrong(name, parsed.error().what);
      return;
    }
    values.push_back(*parsed);
  }
}

void Reader::task_ids(const char* name, std::vector<TaskId>& values, std::size_t limit) {
  const boost::json::array* array = read_array(name, limit);
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    const auto* string = (*array)[i].if_string();
    auto parsed = TaskId::parse(string == nullptr ? std::string_view() : std::string_view(*string));
    if (!parsed) {
      wrong(name, parsed.error().what);
      return;
    }
    values.push_back(*std::move(parsed));
  }
}

void Reader::ranges(const char* name, std::vector<std::pair<std::uint32_t, std::uint32_t>>& values, std::size_t limit) {
  const boost::json::array* array = read_array(name, limit);
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    const auto* pair = (*array)[i].if_array();
    boost::system::error_code error;
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_number() || !(*pair)[1].is_number()) {
      wrong(name, "expected pairs [first, last]");
      return;
    }
    const auto first = (*pair)[0].to_number<std::uint32_t>(error);
    const auto last = error ? 0 : (*pair)[1].to_number<std::uint32_t>(error);
    if (error || last < first) {
      wrong(name, "expected pairs [first, last] with first <= last");
      return;
    }
    values.emplace_back(first, last);
  }
}

}  // namespace flops::wire
