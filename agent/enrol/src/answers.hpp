// What the coordinator's HTTPS API says when it does not give what was asked for.
#pragma once

#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/http/client.hpp"

namespace flops::agent {

inline constexpr std::size_t max_answer = std::size_t{64} * 1024;

[[nodiscard]] http::Url with_path(http::Url url, std::string path);
// denied: 403 and 409; transient: 5xx; permanent: everything else. `what` was refused: "the enrolment".
[[nodiscard]] Error refusal(const http::ClientResponse& answer, std::string_view what);

}  // namespace flops::agent
