// Paho's option structures, filled from ours and kept alive while a call of Paho's reads them.
#pragma once

#include <cstdint>
#include <string>

#include <MQTTAsync.h>

#include "flops/mqtt/client.hpp"

namespace flops::mqtt {

class Properties {
 public:
  Properties() = default;
  ~Properties() { MQTTProperties_free(&properties_); }
  Properties(const Properties&) = delete;
  Properties& operator=(const Properties&) = delete;

  // A four-byte integer; larger values become the largest.
  void add(MQTTPropertyCodes code, std::int64_t value);
  [[nodiscard]] MQTTProperties& get() { return properties_; }

 private:
  MQTTProperties properties_ = MQTTProperties_initializer;
};

class ConnectOptions {
 public:
  ConnectOptions(const Options& options, void* context, MQTTAsync_onSuccess5* success, MQTTAsync_onFailure5* failure);
  ConnectOptions(const ConnectOptions&) = delete;
  ConnectOptions& operator=(const ConnectOptions&) = delete;
  [[nodiscard]] const MQTTAsync_connectOptions* get() const { return &connect_; }

 private:
  std::string ca_;
  std::string certificate_;
  std::string key_;
  Properties properties_;
  MQTTAsync_willOptions will_ = MQTTAsync_willOptions_initializer;
  MQTTAsync_SSLOptions tls_ = MQTTAsync_SSLOptions_initializer;
  MQTTAsync_connectOptions connect_ = MQTTAsync_connectOptions_initializer5;
};

[[nodiscard]] MQTTAsync_responseOptions response_options(void* context, MQTTAsync_onSuccess5* success,
                                                         MQTTAsync_onFailure5* failure);

}  // namespace flops::mqtt
