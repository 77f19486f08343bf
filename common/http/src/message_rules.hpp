// What may stand in an answer, and where a request's token stands. Pure.
#pragma once

#include <string>
#include <string_view>

#include "flops/http/server.hpp"

namespace flops::http {

// Its status is one, and no header smuggles another.
[[nodiscard]] bool sendable(const Response& response);
// {"error": text}; `text` is ours and needs no escapes.
[[nodiscard]] Response refusal(int status, std::string_view text);
// Of "Bearer ..."; empty for other schemes.
[[nodiscard]] std::string bearer_of(std::string_view authorization);

}  // namespace flops::http
