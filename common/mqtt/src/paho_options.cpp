#include "paho_options.hpp"

#include <algorithm>
#include <chrono>

namespace flops::mqtt {
namespace {

// A suite that TLS 1.2 and older could use only with a pre-shared key, which there never is. TLS 1.3 has suites of its
// own beside this list, so it is the only version left. Paho has no setting for the version.
constexpr const char* only_tls13 = "PSK-AES256-GCM-SHA384";

}  // namespace

void Properties::add(MQTTPropertyCodes code, std::int64_t value) {
  MQTTProperty property{};
  property.identifier = code;
  property.value.integer4 = static_cast<unsigned int>(std::min<std::int64_t>(value, INT32_MAX));
  MQTTProperties_add(&properties_, &property);
}

ConnectOptions::ConnectOptions(const Options& options, void* context, MQTTAsync_onSuccess5* success,
                               MQTTAsync_onFailure5* failure)
    : ca_(options.ca_file.string()), certificate_(options.certificate_file.string()), key_(options.key_file.string()) {
  tls_.trustStore = ca_.c_str();
  tls_.keyStore = certificate_.c_str();
  tls_.privateKey = key_.c_str();
  tls_.enabledCipherSuites = only_tls13;
  tls_.enableServerCertAuth = 1;
  tls_.verify = 1;

  if (options.session_expiry.count() > 0) {
    properties_.add(MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, options.session_expiry.count());
  }
  properties_.add(MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, static_cast<std::int64_t>(options.max_packet_bytes));

  if (options.will) {
    will_.topicName = options.will->topic.c_str();
    will_.payload.data = options.will->payload.data();
    will_.payload.len = static_cast<int>(options.will->payload.size());
    will_.retained = options.will->retain ? 1 : 0;
    will_.qos = 1;
    connect_.will = &will_;
  }
  connect_.cleanstart = options.session_expiry.count() == 0 ? 1 : 0;
  connect_.keepAliveInterval = static_cast<int>(options.keep_alive.count());
  // Whole seconds, checked every three: the client's own timer is the exact one.
  connect_.connectTimeout = static_cast<int>(std::chrono::ceil<std::chrono::seconds>(options.connect_timeout).count());
  connect_.automaticReconnect = 0;
  connect_.connectProperties = &properties_.get();
  connect_.ssl = &tls_;
  connect_.context = context;
  connect_.onSuccess5 = success;
  connect_.onFailure5 = failure;
}

MQTTAsync_responseOptions response_options(void* context, MQTTAsync_onSuccess5* success,
                                           MQTTAsync_onFailure5* failure) {
  MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
  options.context = context;
  options.onSuccess5 = success;
  options.onFailure5 = failure;
  return options;
}

}  // namespace flops::mqtt
