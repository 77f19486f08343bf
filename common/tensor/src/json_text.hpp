// Reading hostile JSON and writing JSON strings: what layouts and safetensors headers share.
#pragma once

#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "flops/core/error.hpp"

namespace flops::tensor {

// permanent: not JSON, nested deeper than max_depth, not UTF-8, or a key twice in one object. The caller limits the
// size.
[[nodiscard]] Result<boost::json::value> parse_json(std::string_view text, std::size_t max_depth);

// Appends `text` in quotes. One text has one spelling: only quotes, backslashes and control characters are escaped.
void append_json_string(std::string& to, std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text);

// A hostile name for an error message: printable ASCII, at most 64 characters.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace flops::tensor
