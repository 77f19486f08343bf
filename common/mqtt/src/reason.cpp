#include "reason.hpp"

#include <mosquitto.h>
#include <mqtt_protocol.h>

namespace flops::mqtt {
namespace {

bool is_denial(int code) {
  switch (code) {
    case MQTT_RC_NOT_AUTHORIZED:
    case MQTT_RC_BAD_USERNAME_OR_PASSWORD:
    case MQTT_RC_CLIENTID_NOT_VALID:
    case MQTT_RC_BANNED:
    case MQTT_RC_BAD_AUTHENTICATION_METHOD: return true;
    default: return false;
  }
}

}  // namespace

std::string reason_words(int reason_code) {
  return ::mosquitto_reason_string(reason_code);
}

std::string library_words(int code) {
  return code == MOSQ_ERR_KEEPALIVE ? "the broker has not answered for longer than the keep-alive"
                                    : ::mosquitto_strerror(code);
}

bool is_lost(int code) {
  switch (code) {
    case MOSQ_ERR_NO_CONN:
    case MOSQ_ERR_CONN_LOST:
    case MOSQ_ERR_ERRNO:
    case MOSQ_ERR_TLS:
    case MOSQ_ERR_KEEPALIVE: return true;
    default: return false;
  }
}

Error call_failed(int code, std::string_view doing) {
  ErrorKind kind = is_lost(code) ? ErrorKind::transient : ErrorKind::permanent;
  if (code == MOSQ_ERR_INVAL || code == MOSQ_ERR_MALFORMED_UTF8) {
    kind = ErrorKind::bug;
  }
  return {kind, fmt::format("{}: {}", doing, library_words(code))};
}

Error refused(int reason_code, std::string_view doing) {
  return {is_denial(reason_code) ? ErrorKind::denied : ErrorKind::transient,
          fmt::format("{}: the broker said {} ({})", doing, reason_words(reason_code), reason_code)};
}

}  // namespace flops::mqtt
