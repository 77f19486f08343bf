#include "session.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <string_view>
#include <utility>

#include <mqtt_protocol.h>
#include <poll.h>
#include <sys/socket.h>

#include "reason.hpp"

namespace flops::mqtt {
namespace {

constexpr short ended_events = POLLERR | POLLHUP | POLLRDHUP | POLLNVAL;
constexpr int first_reason = MQTT_RC_UNSPECIFIED;  // the broker's reasons for a refusal begin here

// A list of properties, given to a call and freed.
class Properties {
 public:
  Properties() = default;
  ~Properties() { ::mosquitto_property_free_all(&list_); }
  Properties(const Properties&) = delete;
  Properties& operator=(const Properties&) = delete;

  // A four-byte integer; larger values become the largest.
  [[nodiscard]] bool add(int identifier, std::int64_t value) {
    const auto fitting = static_cast<std::uint32_t>(std::min<std::int64_t>(value, INT32_MAX));
    return ::mosquitto_property_add_int32(&list_, identifier, fitting) == MOSQ_ERR_SUCCESS;
  }
  [[nodiscard]] const mosquitto_property* get() const { return list_; }

 private:
  mosquitto_property* list_ = nullptr;
};

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] { ::mosquitto_lib_init(); });
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

Session* session_of(void* given) {
  return static_cast<Session*>(given);
}

}  // namespace

Session::Session(const Options& options, Attempt attempt, std::shared_ptr<Mailbox> mailbox)
    : options_(options), attempt_(attempt), mailbox_(std::move(mailbox)) {
  start_library();
}

Session::~Session() {
  mosquitto_.reset();
  settle_all();
}

Result<> Session::prepare() {
  auto context = make_context(options_);
  if (!context) {
    return fail(std::move(context.error()));
  }
  context_ = std::move(*context);
  const bool clean = options_.session_expiry.count() == 0;
  mosquitto_.reset(::mosquitto_new(options_.client_id.c_str(), clean, this));
  mosquitto* const made = mosquitto_.get();
  Properties properties;
  const auto option = [made](mosq_opt_t name, int value) {
    return ::mosquitto_int_option(made, name, value) == MOSQ_ERR_SUCCESS;
  };
  if (made == nullptr || !option(MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5) || !option(MOSQ_OPT_TCP_NODELAY, 1) ||
      !option(MOSQ_OPT_SEND_MAXIMUM, static_cast<int>(max_operations)) ||
      // TLS is ours as a whole: what libmosquitto would set has no way to say that the host must be in the certificate
      // of an address tried by number.
      !option(MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) ||
      ::mosquitto_void_option(made, MOSQ_OPT_SSL_CTX, context_.get()) != MOSQ_ERR_SUCCESS ||
      (!clean && !properties.add(MQTT_PROP_SESSION_EXPIRY_INTERVAL, options_.session_expiry.count())) ||
      !properties.add(MQTT_PROP_MAXIMUM_PACKET_SIZE, static_cast<std::int64_t>(options_.max_packet_bytes))) {
    return fail(ErrorKind::resource, "the MQTT library cannot be set up");
  }
  if (options_.will) {
    const Will& will = *options_.will;
    const int code = ::mosquitto_will_set_v5(made, will.topic.c_str(), static_cast<int>(will.payload.size()),
                                             will.payload.data(), 1, will.retain, nullptr);
    if (code != MOSQ_ERR_SUCCESS) {
      return fail(ErrorKind::bug, "the will for '{}': {}", will.topic, library_words(code));
    }
  }
  // Only the blocking call takes properties. Without a host it does nothing but keep them, for the one that does not
  // block (test: a persistent session keeps what is published meanwhile).
  ::mosquitto_connect_bind_v5(made, nullptr, options_.port, 0, nullptr, properties.get());
  ::mosquitto_connect_v5_callback_set(made, &on_connect);
  ::mosquitto_disconnect_v5_callback_set(made, &on_disconnect);
  ::mosquitto_publish_v5_callback_set(made, &on_publish);
  ::mosquitto_subscribe_v5_callback_set(made, &on_subscribe);
  ::mosquitto_unsubscribe_v5_callback_set(made, &on_unsubscribe);
  ::mosquitto_message_v5_callback_set(made, &on_message);
  return {};
}

Result<> Session::find_addresses() {
  auto found = resolve(options_);
  if (!found) {
    return fail(std::move(found.error()));
  }
  addresses_ = std::move(*found);
  for (const addrinfo* at = addresses_.get(); at != nullptr; at = at->ai_next) {
    untried_.push_back(at);
  }
  // Every attempt begins with another one: the first may be where packets vanish, until the attempt has no time left.
  std::ranges::rotate(untried_, untried_.begin() + static_cast<std::ptrdiff_t>((attempt_ - 1) % untried_.size()));
  return {};
}

void Session::connect() {
  auto prepared = prepare();
  if (prepared) {
    prepared = find_addresses();
  }
  if (!prepared) {
    state_ = State::over;
    mailbox_->put(ConnectFailed{attempt_, std::move(prepared.error())});
    return;
  }
  try_next();
}

void Session::try_next() {
  while (!untried_.empty()) {
    const addrinfo* const address = untried_.front();
    untried_.pop_front();
    std::array<char, NI_MAXHOST> number{};
    if (::getnameinfo(address->ai_addr, address->ai_addrlen, number.data(), number.size(), nullptr, 0,
                      NI_NUMERICHOST) != 0) {
      continue;
    }
    const int code = ::mosquitto_connect_async(mosquitto_.get(), number.data(), options_.port,
                                               static_cast<int>(options_.keep_alive.count()));
    end_.reset();
    if (code == MOSQ_ERR_SUCCESS) {
      return;
    }
  }
  state_ = State::failed;
}

std::optional<Addresses> Session::failed_silently() {
  if (state_ != State::failed) {
    return std::nullopt;
  }
  state_ = State::over;
  return std::move(addresses_);
}

const SSL* Session::tls() const {
  return mosquitto_ ? static_cast<const SSL*>(::mosquitto_ssl_get(mosquitto_.get())) : nullptr;
}

bool Session::shaking_hands() const {
  const SSL* const tls = this->tls();
  return tls != nullptr && SSL_is_init_finished(tls) == 0;
}

short Session::events() const {
  // While TLS begins, libmosquitto may say that it wants to write when it has to wait for the other side.
  const bool reading = shaking_hands() && SSL_want(tls()) == SSL_READING;
  const bool writing = !reading && ::mosquitto_want_write(mosquitto_.get());
  return static_cast<short>(POLLIN | POLLRDHUP | (writing ? POLLOUT : 0));
}

// Not mosquitto_loop(): it asks select(), which knows no descriptor above 1023.
int Session::serve(short events) {
  mosquitto* const library = mosquitto_.get();
  int code = MOSQ_ERR_SUCCESS;
  // The handshake, in both directions, is libmosquitto's reading.
  if ((events & (POLLIN | ended_events)) != 0 || (shaking_hands() && (events & POLLOUT) != 0)) {
    code = ::mosquitto_loop_read(library, 1);
  }
  if (code == MOSQ_ERR_SUCCESS && socket() >= 0 && !shaking_hands() && ::mosquitto_want_write(library)) {
    code = ::mosquitto_loop_write(library, 1);
  }
  if (code == MOSQ_ERR_SUCCESS && socket() >= 0) {
    code = ::mosquitto_loop_misc(library);
  }
  return code;
}

void Session::work(short events) {
  const int code = serve(events);
  if (end_ || code != MOSQ_ERR_SUCCESS) {
    look_for_end(code);
  } else if (state_ == State::connecting && (events & ended_events) != 0) {
    // libmosquitto takes what ends a TLS handshake without an alert for something to wait for.
    try_next();
  }
}

void Session::publish(Operation operation, const std::string& topic, const std::string& payload,
                      const PublishOptions& options) {
  begin(operation, payload.size() + topic.size() + 1, "publishing");
  Properties properties;
  if (options.expiry.count() > 0 && !properties.add(MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, options.expiry.count())) {
    begun(MOSQ_ERR_NOMEM);
    return;
  }
  begun(::mosquitto_publish_v5(mosquitto_.get(), &beginning_mid_, topic.c_str(), static_cast<int>(payload.size()),
                               payload.data(), options.qos, options.retain, properties.get()));
}

void Session::subscribe(Operation operation, const std::vector<std::string>& filters) {
  begin(operation, 1, "subscribing");
  std::vector<std::string> copies;
  const std::vector<char*> pointers = pointers_to(filters, copies);
  begun(::mosquitto_subscribe_multiple(mosquitto_.get(), &beginning_mid_, static_cast<int>(pointers.size()),
                                       pointers.data(), 1, 0, nullptr));
}

void Session::unsubscribe(Operation operation, const std::vector<std::string>& filters) {
  begin(operation, 1, "unsubscribing");
  std::vector<std::string> copies;
  const std::vector<char*> pointers = pointers_to(filters, copies);
  begun(::mosquitto_unsubscribe_multiple(mosquitto_.get(), &beginning_mid_, static_cast<int>(pointers.size()),
                                         pointers.data(), nullptr));
}

void Session::disconnect() {
  // What lies unread when libmosquitto closes the socket would reset the connection, and the farewell with it.
  look_for_end(::mosquitto_loop_read(mosquitto_.get(), 1));
  if (!connected()) {
    return;
  }
  state_ = State::disconnecting;
  look_for_end(::mosquitto_disconnect_v5(mosquitto_.get(), MQTT_RC_NORMAL_DISCONNECTION, nullptr));
}

void Session::break_off() {
  state_ = State::disconnecting;
  look_for_end(::mosquitto_disconnect_v5(mosquitto_.get(), MQTT_RC_DISCONNECT_WITH_WILL_MSG, nullptr));
}

void Session::begin(Operation operation, std::size_t bytes, const char* doing) {
  bytes_ += bytes;
  beginning_ = Call{operation, bytes, doing};
  beginning_mid_ = 0;
}

void Session::begun(int code) {
  if (const auto call = std::exchange(beginning_, std::nullopt)) {
    if (code == MOSQ_ERR_SUCCESS) {
      calls_.emplace(beginning_mid_, *call);
    } else {
      settle(*call, fail(call_failed(code, call->doing)));
    }
  }
  look_for_end(is_lost(code) ? code : MOSQ_ERR_SUCCESS);
}

void Session::settle(int mid, Result<> result) {
  if (beginning_ && mid == beginning_mid_) {
    settle(*std::exchange(beginning_, std::nullopt), std::move(result));
  } else if (const auto node = calls_.extract(mid)) {
    settle(node.mapped(), std::move(result));
  }
}

void Session::settle(const Call& call, Result<> result) {
  bytes_ -= call.bytes;
  mailbox_->put(Settled{call.operation, std::move(result)});
}

void Session::settle_all() {
  for (const auto& [mid, call] : std::exchange(calls_, {})) {
    settle(call, fail(ErrorKind::transient, "{}: the connection went down", call.doing));
  }
}

void Session::look_for_end(int code) {
  if (!end_ && code == MOSQ_ERR_SUCCESS) {
    return;
  }
  const int why = end_ ? end_->code : code;
  end_.reset();
  if (state_ == State::connecting) {
    try_next();
    return;
  }
  const bool was_connected = state_ == State::connected;
  const bool was_disconnecting = std::exchange(state_, State::over) == State::disconnecting;
  settle_all();
  if (was_disconnecting) {
    mailbox_->put(Disconnected{attempt_});
  } else if (was_connected) {
    const bool said = why >= first_reason;
    const ErrorKind kind = why == MQTT_RC_SESSION_TAKEN_OVER ? ErrorKind::denied : ErrorKind::transient;
    mailbox_->put(Lost{attempt_,
                       {kind, fmt::format("the connection to {}:{} was lost: {}", options_.host, options_.port,
                                          said ? fmt::format("the broker said {} ({})", reason_words(why), why)
                                               : library_words(why))}});
  }
  // A write that failed leaves the socket open.
  mosquitto_.reset();
}

void Session::on_connect(mosquitto*, void* session, int reason, int flags, const mosquitto_property*) {
  Session& self = *session_of(session);
  if (self.state_ != State::connecting) {
    return;  // a second answer: libmosquitto does not mind
  }
  if (reason == 0) {
    self.state_ = State::connected;
    self.mailbox_->put(Connected{self.attempt_, (flags & 1) != 0});
  } else {
    self.state_ = State::over;
    self.mailbox_->put(
        ConnectFailed{self.attempt_, refused(reason, fmt::format("connecting as '{}'", self.options_.client_id))});
  }
}

void Session::on_disconnect(mosquitto*, void* session, int code, const mosquitto_property*) {
  Session& self = *session_of(session);
  if (!self.end_) {  // what the broker said comes first, then what libmosquitto makes of it
    self.end_ = End{code};
  }
}

void Session::on_publish(mosquitto*, void* session, int mid, int reason, const mosquitto_property*) {
  session_of(session)->settle(mid, reason < first_reason ? Result<>{} : fail(refused(reason, "publishing")));
}

void Session::on_subscribe(mosquitto*, void* session, int mid, int count, const int* reasons,
                           const mosquitto_property*) {
  const int worst = count > 0 ? *std::max_element(reasons, reasons + count) : 0;
  session_of(session)->settle(mid, worst < first_reason ? Result<>{} : fail(refused(worst, "subscribing")));
}

void Session::on_unsubscribe(mosquitto*, void* session, int mid, const mosquitto_property*) {
  session_of(session)->settle(mid, {});
}

void Session::on_message(mosquitto*, void* session, const mosquitto_message* message, const mosquitto_property*) {
  if (message->topic == nullptr) {
    return;  // one that needs an alias, which we allow nobody
  }
  std::string payload;
  if (message->payloadlen > 0) {
    payload.assign(static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen));
  }
  session_of(session)->mailbox_->put(Message{message->topic, std::move(payload), message->retain});
}

}  // namespace flops::mqtt
