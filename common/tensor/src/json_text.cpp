#include "json_text.hpp"

#include <exception>
#include <set>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>

namespace flops::tensor {
namespace {

namespace json = boost::json;
using ErrorCode = boost::system::error_code;

// Boost.JSON keeps the last of two equal keys. A header that says two things is refused instead: readers would
// disagree.
struct DuplicateKeys {
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  bool on_document_begin(ErrorCode&) { return true; }
  bool on_document_end(ErrorCode&) { return true; }
  bool on_array_begin(ErrorCode&) { return true; }
  bool on_array_end(std::size_t, ErrorCode&) { return true; }
  bool on_object_begin(ErrorCode&) {
    keys.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, ErrorCode&) {
    keys.pop_back();
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, ErrorCode&) {
    key.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, std::size_t, ErrorCode& code) {
    key.append(part.data(), part.size());
    if (!keys.back().insert(key).second) {
      duplicate = true;
      code = json::error::syntax;
      return false;
    }
    key.clear();
    return true;
  }
  bool on_string_part(json::string_view, std::size_t, ErrorCode&) { return true; }
  bool on_string(json::string_view, std::size_t, ErrorCode&) { return true; }
  bool on_number_part(json::string_view, ErrorCode&) { return true; }
  bool on_int64(std::int64_t, json::string_view, ErrorCode&) { return true; }
  bool on_uint64(std::uint64_t, json::string_view, ErrorCode&) { return true; }
  bool on_double(double, json::string_view, ErrorCode&) { return true; }
  bool on_bool(bool, ErrorCode&) { return true; }
  bool on_null(ErrorCode&) { return true; }
  bool on_comment_part(json::string_view, ErrorCode&) { return true; }
  bool on_comment(json::string_view, ErrorCode&) { return true; }

  std::vector<std::set<std::string>> keys;
  std::string key;
  bool duplicate = false;
};

json::parse_options options(std::size_t max_depth) {
  json::parse_options options;
  options.max_depth = max_depth;
  return options;
}

}  // namespace

Result<json::value> parse_json(std::string_view text, std::size_t max_depth) {
  try {
    ErrorCode code;
    json::basic_parser<DuplicateKeys> scan(options(max_depth));
    const std::size_t read = scan.write_some(false, text.data(), text.size(), code);
    if (scan.handler().duplicate) {
      return fail(ErrorKind::permanent, "key \"{}\" stands twice in one object", printable(scan.handler().key));
    }
    if (code) {
      return fail(ErrorKind::permanent, "not valid JSON near byte {}: {}", read, code.message());
    }
    json::value value = json::parse(json::string_view(text.data(), text.size()), code, {}, options(max_depth));
    if (code) {
      return fail(ErrorKind::permanent, "not valid JSON: {}", code.message());
    }
    return value;
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::resource, "no memory for {} bytes of JSON", text.size());
  } catch (const std::exception& error) {
    return fail(ErrorKind::permanent, "not valid JSON: {}", error.what());
  }
}

void append_json_string(std::string& to, std::string_view text) {
  to += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      to += c;
    }
  }
  to += '"';
}

bool is_utf8(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);
  return parse_json(quoted, 1).has_value();
}

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, 64));
  for (char& c : shown) {
    if (c < 0x20 || c > 0x7e) {
      c = '?';
    }
  }
  return shown.size() < text.size() ? shown + "..." : shown;
}

}  // namespace flops::tensor
