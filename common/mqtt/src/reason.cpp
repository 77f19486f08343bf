#include "reason.hpp"

#include <MQTTAsync.h>

// The header itself does not say that it is C.
extern "C" {
#include <MQTTReasonCodes.h>
}

namespace flops::mqtt {
namespace {

bool is_denial(int code) {
  switch (code) {
    case MQTTREASONCODE_NOT_AUTHORIZED:
    case MQTTREASONCODE_BAD_USER_NAME_OR_PASSWORD:
    case MQTTREASONCODE_CLIENT_IDENTIFIER_NOT_VALID:
    case MQTTREASONCODE_BANNED:
    case MQTTREASONCODE_BAD_AUTHENTICATION_METHOD: return true;
    default: return false;
  }
}

}  // namespace

std::string reason_words(int reason_code) {
  const char* words = MQTTReasonCode_toString(static_cast<MQTTReasonCodes>(reason_code));
  return words != nullptr ? words : "something unknown";
}

std::string paho_words(int code) {
  const char* words = MQTTAsync_strerror(code);
  return fmt::format("{} ({})", words != nullptr ? words : "unknown", code);
}

Error refused(int reason_code, std::string_view doing) {
  return {is_denial(reason_code) ? ErrorKind::denied : ErrorKind::transient,
          fmt::format("{}: the broker said {} ({})", doing, reason_words(reason_code), reason_code)};
}

}  // namespace flops::mqtt
