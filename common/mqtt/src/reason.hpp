// Why an operation failed, in our kinds and in words that help.
#pragma once

#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops::mqtt {

// An MQTT 5 reason code >= 0x80. denied: not authorised, bad credentials, banned; transient: the rest.
[[nodiscard]] Error refused(int reason_code, std::string_view doing);
[[nodiscard]] std::string reason_words(int reason_code);
// A call that libmosquitto did not take. transient: the connection is gone; bug: it may not be made like this;
// permanent: the rest, as what is too large for the broker.
[[nodiscard]] Error call_failed(int code, std::string_view doing);
// What a return code of libmosquitto's functions means, and whether the connection is gone.
[[nodiscard]] std::string library_words(int code);
[[nodiscard]] bool is_lost(int code);

}  // namespace flops::mqtt
