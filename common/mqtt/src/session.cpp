#include "session.hpp"

#include <algorithm>

#include "paho_options.hpp"
#include "reason.hpp"
#include "send_at_once.hpp"

namespace flops::mqtt {
namespace {

// Never reached: publications are handed over only while there is room().
constexpr int buffered_messages = 1024;

std::string uri_of(const Options& options) {
  const bool ipv6 = options.host.find(':') != std::string::npos;
  const std::string host = ipv6 ? "[" + options.host + "]" : options.host;
  return fmt::format("ssl://{}:{}", host, options.port);
}

Result<> outcome_of(int first, int count, const MQTTReasonCodes* codes, const char* doing) {
  int worst = first;
  // Paho gives the list only when it has more than one entry.
  for (int i = 0; count > 1 && codes != nullptr && i < count; ++i) {
    worst = std::max<int>(worst, codes[i]);
  }
  if (worst >= MQTTREASONCODE_UNSPECIFIED_ERROR) {
    return fail(refused(worst, doing));
  }
  return {};
}

std::vector<char*> pointers_to(const std::vector<std::string>& filters, std::vector<std::string>& copies) {
  copies = filters;
  std::vector<char*> pointers;
  pointers.reserve(copies.size());
  for (std::string& copy : copies) {
    pointers.push_back(copy.data());
  }
  return pointers;
}

Session* session_of(void* context) {
  return static_cast<Session*>(context);
}

}  // namespace

Session::Session(const Options& options, Attempt attempt, std::shared_ptr<Mailbox> mailbox, SessionHooks hooks)
    : options_(options), attempt_(attempt), mailbox_(std::move(mailbox)), hooks_(std::move(hooks)) {
  MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
  create.maxBufferedMessages = buffered_messages;
  const int code = MQTTAsync_createWithOptions(&paho_, uri_of(options).c_str(), options.client_id.c_str(),
                                               MQTTCLIENT_PERSISTENCE_NONE, nullptr, &create);
  if (code != MQTTASYNC_SUCCESS) {
    paho_ = nullptr;
    return;
  }
  MQTTAsync_setCallbacks(paho_, this, &on_lost, &on_message, nullptr);
  MQTTAsync_setDisconnected(paho_, this, &on_broker_disconnect);
}

Session::~Session() {
  if (paho_ != nullptr) {
    // Calls back for everything that is still open.
    MQTTAsync_destroy(&paho_);
  }
}

void Session::connect() {
  const ConnectOptions connect(options_, this, &on_connected, &on_connect_failed);
  const int code = paho_ == nullptr ? MQTTASYNC_FAILURE : MQTTAsync_connect(paho_, connect.get());
  if (code != MQTTASYNC_SUCCESS) {
    mailbox_->put(
        ConnectFailed{attempt_, {ErrorKind::transient, fmt::format("starting to connect: {}", paho_words(code))}});
  }
}

void Session::publish(Operation operation, const std::string& topic, std::string& payload,
                      const PublishOptions& options) {
  Call* call = begin(operation, payload.size() + topic.size() + 1, "publishing");
  MQTTAsync_message message = MQTTAsync_message_initializer;
  message.payload = payload.data();
  message.payloadlen = static_cast<int>(payload.size());
  message.qos = options.qos;
  message.retained = options.retain ? 1 : 0;
  Properties properties;
  if (options.expiry.count() > 0) {
    properties.add(MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, options.expiry.count());
  }
  message.properties = properties.get();
  MQTTAsync_responseOptions response = response_options(call, &on_published, &on_failed);
  check(call, MQTTAsync_sendMessage(paho_, topic.c_str(), &message, &response));
}

void Session::subscribe(Operation operation, const std::vector<std::string>& filters) {
  Call* call = begin(operation, 1, "subscribing");
  std::vector<std::string> copies;
  const std::vector<char*> pointers = pointers_to(filters, copies);
  const std::vector<int> qos(filters.size(), 1);
  MQTTAsync_responseOptions response = response_options(call, &on_subscribed, &on_failed);
  check(call,
        MQTTAsync_subscribeMany(paho_, static_cast<int>(pointers.size()), pointers.data(), qos.data(), &response));
}

void Session::unsubscribe(Operation operation, const std::vector<std::string>& filters) {
  Call* call = begin(operation, 1, "unsubscribing");
  std::vector<std::string> copies;
  const std::vector<char*> pointers = pointers_to(filters, copies);
  MQTTAsync_responseOptions response = response_options(call, &on_unsubscribed, &on_failed);
  check(call, MQTTAsync_unsubscribeMany(paho_, static_cast<int>(pointers.size()), pointers.data(), &response));
}

int Session::start_disconnect(MQTTReasonCodes reason) {
  MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
  options.reasonCode = reason;
  options.context = this;
  options.onSuccess5 = &on_disconnected;
  options.onFailure5 = &on_disconnect_failed;
  return MQTTAsync_disconnect(paho_, &options);
}

void Session::disconnect() {
  if (start_disconnect(MQTTREASONCODE_NORMAL_DISCONNECTION) != MQTTASYNC_SUCCESS) {
    // It was not connected any more, which is what was wanted.
    ended();
    mailbox_->put(Disconnected{attempt_});
  }
}

void Session::break_off(std::chrono::milliseconds patience) {
  if (start_disconnect(MQTTREASONCODE_DISCONNECT_WITH_WILL_MESSAGE) == MQTTASYNC_SUCCESS) {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, patience, [this] { return !connected_; });
  }
}

void Session::on_connected(void* session, MQTTAsync_successData5* data) {
  Session& self = *session_of(session);
  self.connected_ = true;
  send_at_once(self.options_.port);
  self.mailbox_->put(Connected{self.attempt_, data->alt.connect.sessionPresent != 0});
}

void Session::on_connect_failed(void* session, MQTTAsync_failureData5* data) {
  Session& self = *session_of(session);
  // A refusal by the broker stands in either field, depending on Paho's version.
  const int code = std::max<int>(data->code, data->reasonCode);
  if (code >= MQTTREASONCODE_UNSPECIFIED_ERROR) {
    self.mailbox_->put(
        ConnectFailed{self.attempt_, refused(code, fmt::format("connecting as '{}'", self.options_.client_id))});
  } else {
    self.hooks_.failed();
  }
}

// Paho calls only this and not on_lost() when the broker says goodbye (eclipse-paho/paho.mqtt.c#1619).
void Session::on_broker_disconnect(void* session, MQTTProperties*, MQTTReasonCodes code) {
  session_of(session)->lose(code == MQTTREASONCODE_SESSION_TAKEN_OVER ? ErrorKind::denied : ErrorKind::transient,
                            fmt::format(": the broker said {} ({})", reason_words(code), static_cast<int>(code)));
}

void Session::on_lost(void* session, char*) {
  session_of(session)->lose(ErrorKind::transient, "");
}

void Session::lose(ErrorKind kind, const std::string& reason) {
  ended();
  mailbox_->put(
      Lost{attempt_, {kind, fmt::format("the connection to {}:{} was lost{}", options_.host, options_.port, reason)}});
}

int Session::on_message(void* session, char* topic, int topic_length, MQTTAsync_message* message) {
  // The length is given only when the topic has zeros in it.
  Message copy{topic_length > 0 ? std::string(topic, static_cast<std::size_t>(topic_length)) : std::string(topic),
               std::string(static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen)),
               message->retained != 0};
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(topic);
  session_of(session)->mailbox_->put(std::move(copy));
  return 1;
}

void Session::on_disconnected(void* session, MQTTAsync_successData5*) {
  Session& self = *session_of(session);
  self.ended();
  self.mailbox_->put(Disconnected{self.attempt_});
}

void Session::on_disconnect_failed(void* session, MQTTAsync_failureData5*) {
  on_disconnected(session, nullptr);
}

void Session::on_published(void* context, MQTTAsync_successData5*) {
  auto* call = static_cast<Call*>(context);
  call->session->settle(call, {});
}

void Session::on_subscribed(void* context, MQTTAsync_successData5* data) {
  auto* call = static_cast<Call*>(context);
  const auto& sub = data->alt.sub;
  call->session->settle(call, outcome_of(data->reasonCode, sub.reasonCodeCount, sub.reasonCodes, call->doing));
}

void Session::on_unsubscribed(void* context, MQTTAsync_successData5* data) {
  auto* call = static_cast<Call*>(context);
  const auto& unsub = data->alt.unsub;
  call->session->settle(call, outcome_of(data->reasonCode, unsub.reasonCodeCount, unsub.reasonCodes, call->doing));
}

void Session::on_failed(void* context, MQTTAsync_failureData5* data) {
  auto* call = static_cast<Call*>(context);
  Error error{ErrorKind::transient, fmt::format("{}: the connection went down", call->doing)};
  if (data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR) {
    error = refused(data->reasonCode, call->doing);
  }
  call->session->settle(call, fail(std::move(error)));
}

Session::Call* Session::begin(Operation operation, std::size_t bytes, const char* doing) {
  const std::lock_guard lock(mutex_);
  bytes_ += bytes;
  ++operations_;
  return &calls_.emplace(operation, Call{this, operation, bytes, doing}).first->second;
}

void Session::check(Call* call, int code) {
  if (code != MQTTASYNC_SUCCESS) {
    const ErrorKind kind = code == MQTTASYNC_DISCONNECTED ? ErrorKind::transient : ErrorKind::permanent;
    settle(call, fail(kind, "{}: {}", call->doing, paho_words(code)));
  }
}

void Session::settle(Call* call, Result<> result) {
  const Operation operation = call->operation;
  {
    const std::lock_guard lock(mutex_);
    bytes_ -= call->bytes;
    --operations_;
    calls_.erase(operation);
  }
  mailbox_->put(Settled{operation, std::move(result)});
  hooks_.changed();
}

void Session::ended() {
  {
    const std::lock_guard lock(mutex_);
    connected_ = false;
  }
  ended_.notify_all();
  hooks_.changed();
}

}  // namespace flops::mqtt
