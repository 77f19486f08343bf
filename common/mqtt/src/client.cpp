#include "flops/mqtt/client.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "credentials.hpp"
#include "mailbox.hpp"
#include "worker.hpp"

namespace flops::mqtt {
namespace {

// The largest remaining length of an MQTT packet, less room for the topic and properties.
constexpr std::size_t max_payload = 268'000'000;

bool is_no_text(const std::string& text) {
  return text.empty() || text.find('\0') != std::string::npos;
}

Result<> check_publication(const std::string& topic, const std::string& payload, const PublishOptions& options) {
  if (options.qos != 0 && options.qos != 1) {
    return fail(ErrorKind::bug, "publishing with QoS {}: only 0 and 1 are used", options.qos);
  }
  if (is_no_text(topic) || topic.find_first_of("+#") != std::string::npos) {
    return fail(ErrorKind::bug, "'{}' is no topic to publish to", topic);
  }
  if (payload.size() > max_payload) {
    return fail(ErrorKind::bug, "a payload of {} bytes; MQTT ends at {}", payload.size(), max_payload);
  }
  return {};
}

// The loop's side: who waits for what. Everything here runs on the loop's thread.
class ThreadedClient final : public Client {
 public:
  ThreadedClient(boost::asio::any_io_executor loop, Options options, Handlers handlers)
      : options_(options),
        handlers_(std::move(handlers)),
        timer_(loop),
        mailbox_(std::make_shared<Mailbox>(loop, options.mailbox_bytes,
                                           [this](Event event) { dispatch(std::move(event)); })),
        worker_(std::make_unique<Worker>(std::move(options), mailbox_)) {}

  ~ThreadedClient() override {
    // First the mailbox, so that the worker does not wait in it.
    mailbox_->close();
    worker_.reset();
  }

  void connect() override;
  void set_will(std::string payload) override { new_will_ = std::move(payload); }
  [[nodiscard]] bool connected() const override { return state_ == State::connected; }
  void disconnect(std::chrono::milliseconds timeout, std::function<void()> done) override;
  void publish(std::string topic, std::string payload, PublishOptions options, Done done) override;
  void subscribe(std::vector<std::string> filters, Done done) override {
    change_subscriptions(std::move(filters), false, std::move(done));
  }
  void unsubscribe(std::vector<std::string> filters, Done done) override {
    change_subscriptions(std::move(filters), true, std::move(done));
  }
  [[nodiscard]] std::size_t in_flight() const override { return publications_; }
  [[nodiscard]] Stats stats() const override {
    Stats stats = stats_;
    stats.mailbox_waits = mailbox_->waits();
    stats.mailbox_peak_messages = mailbox_->peak_messages();
    stats.mailbox_peak_bytes = mailbox_->peak_bytes();
    return stats;
  }

 private:
  enum class State { idle, connecting, connected, disconnecting };
  struct Pending {
    Done done;
    bool publication;
  };

  void dispatch(Event event) {
    std::visit([this](auto& given) { handle(given); }, event);
  }
  void handle(Message& message);
  void handle(Connected& event);
  void handle(ConnectFailed& event);
  void handle(Lost& event);
  void handle(Disconnected& event);
  void handle(Settled& event);

  void change_subscriptions(std::vector<std::string> filters, bool unsubscribe, Done done);
  [[nodiscard]] Operation expect(Done done, bool publication);
  void settle_later(Operation operation, Result<> result);
  void settle_all(const Error& error);
  void attempt_failed(const Error& error);
  void finish_disconnect();
  // Calls `expired` on the loop unless the timer is set again or cancelled before.
  template <class Expired>
  void start_timer(std::chrono::milliseconds after, Expired expired);

  const Options options_;
  const Handlers handlers_;
  State state_ = State::idle;
  Attempt attempt_ = 0;
  std::optional<std::string> new_will_;
  Operation last_operation_ = 0;
  std::unordered_map<Operation, Pending> pending_;
  std::size_t publications_ = 0;
  std::vector<std::function<void()>> disconnect_done_;
  Stats stats_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  boost::asio::steady_timer timer_;
  std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<Worker> worker_;
};

template <class Expired>
void ThreadedClient::start_timer(std::chrono::milliseconds after, Expired expired) {
  timer_.expires_after(after);
  // The weak pointer: an expired timer may still be queued when the client is destroyed. The attempt: or when it was
  // set again.
  timer_.async_wait([this, alive = std::weak_ptr(alive_), attempt = attempt_, state = state_,
                     expired](const boost::system::error_code& error) {
    if (!error && !alive.expired() && attempt == attempt_ && state == state_) {
      expired();
    }
  });
}

void ThreadedClient::connect() {
  if (state_ != State::idle) {
    return;
  }
  state_ = State::connecting;
  ++attempt_;
  worker_->add(ConnectCommand{attempt_, std::exchange(new_will_, std::nullopt)});
  start_timer(options_.connect_timeout, [this] {
    worker_->add(AbandonCommand{});
    attempt_failed({ErrorKind::transient, fmt::format("no connection to {}:{} within {} ms", options_.host,
                                                      options_.port, options_.connect_timeout.count())});
  });
}

void ThreadedClient::disconnect(std::chrono::milliseconds timeout, std::function<void()> done) {
  if (done) {
    disconnect_done_.push_back(std::move(done));
  }
  if (state_ == State::disconnecting) {
    return;
  }
  const bool was_connected = state_ == State::connected;
  const bool was_connecting = state_ == State::connecting;
  state_ = State::disconnecting;
  if (was_connected) {
    worker_->add(DisconnectCommand{attempt_, std::chrono::steady_clock::now() + timeout / 2});
  } else {
    worker_->add(AbandonCommand{});
  }
  // Without a connection there is nothing to wait for; `done` comes from the loop all the same.
  start_timer(was_connected ? timeout : std::chrono::milliseconds(0), [this, was_connecting] {
    if (was_connecting) {
      ++attempt_;
      if (handlers_.connect_failed) {
        handlers_.connect_failed({ErrorKind::cancelled, "disconnected while connecting"});
      }
    }
    worker_->add(AbandonCommand{});
    finish_disconnect();
  });
}

void ThreadedClient::finish_disconnect() {
  timer_.cancel();
  state_ = State::idle;
  worker_->forget_operations();
  settle_all({ErrorKind::cancelled, "disconnected"});
  for (const auto& done : std::exchange(disconnect_done_, {})) {
    done();
  }
}

void ThreadedClient::publish(std::string topic, std::string payload, PublishOptions options, Done done) {
  const Operation operation = expect(std::move(done), true);
  if (auto checked = check_publication(topic, payload, options); !checked) {
    settle_later(operation, std::move(checked));
  } else if (state_ != State::connected) {
    settle_later(operation, fail(ErrorKind::transient, "not connected to {}:{}", options_.host, options_.port));
  } else {
    stats_.bytes_published += payload.size();
    worker_->add(PublishCommand{operation, std::move(topic), std::move(payload), options});
  }
}

void ThreadedClient::change_subscriptions(std::vector<std::string> filters, bool unsubscribe, Done done) {
  const Operation operation = expect(std::move(done), false);
  if (state_ != State::connected) {
    settle_later(operation, fail(ErrorKind::transient, "not connected to {}:{}", options_.host, options_.port));
  } else if (filters.empty() || std::ranges::any_of(filters, is_no_text)) {
    settle_later(operation, fail(ErrorKind::bug, "a subscription without a filter, or one with a zero byte"));
  } else {
    worker_->add(SubscribeCommand{operation, std::move(filters), unsubscribe});
  }
}

Operation ThreadedClient::expect(Done done, bool publication) {
  const Operation operation = ++last_operation_;
  pending_.emplace(operation, Pending{std::move(done), publication});
  publications_ += publication ? 1U : 0U;
  return operation;
}

// From the loop, like every other outcome; so a caller never meets its `done` inside its own call.
void ThreadedClient::settle_later(Operation operation, Result<> result) {
  mailbox_->put(Settled{operation, std::move(result)});
}

void ThreadedClient::settle_all(const Error& error) {
  publications_ = 0;
  for (auto& [operation, pending] : std::exchange(pending_, {})) {
    if (pending.done) {
      pending.done(fail(error));
    }
  }
}

void ThreadedClient::handle(Settled& event) {
  auto node = pending_.extract(event.operation);
  if (node.empty()) {
    return;  // failed already, with its connection
  }
  publications_ -= node.mapped().publication ? 1U : 0U;
  if (state_ == State::disconnecting && !event.result && event.result.error().kind == ErrorKind::transient) {
    event.result.error().kind = ErrorKind::cancelled;
  }
  if (node.mapped().done) {
    node.mapped().done(std::move(event.result));
  }
}

void ThreadedClient::handle(Message& message) {
  ++stats_.messages_received;
  stats_.bytes_received += message.payload.size();
  if (handlers_.message) {
    handlers_.message(std::move(message));
  }
}

void ThreadedClient::handle(Connected& event) {
  if (event.attempt != attempt_ || state_ != State::connecting) {
    return;
  }
  timer_.cancel();
  state_ = State::connected;
  if (handlers_.connected) {
    handlers_.connected(event.session_present);
  }
}

void ThreadedClient::handle(ConnectFailed& event) {
  if (event.attempt == attempt_ && state_ == State::connecting) {
    attempt_failed(event.error);
  }
}

void ThreadedClient::attempt_failed(const Error& error) {
  timer_.cancel();
  state_ = State::idle;
  if (handlers_.connect_failed) {
    handlers_.connect_failed(error);
  }
}

void ThreadedClient::handle(Lost& event) {
  if (event.attempt != attempt_) {
    return;
  }
  if (state_ == State::disconnecting) {
    finish_disconnect();
  } else if (state_ == State::connected) {
    state_ = State::idle;
    worker_->forget_operations();
    settle_all(event.error);
    if (handlers_.lost) {
      handlers_.lost(event.error);
    }
  }
}

void ThreadedClient::handle(Disconnected& event) {
  if (event.attempt == attempt_ && state_ == State::disconnecting) {
    finish_disconnect();
  }
}

}  // namespace

Result<std::unique_ptr<Client>> Client::create(boost::asio::any_io_executor loop, Options options, Handlers handlers) {
  if (auto checked = make_context(options); !checked) {
    return fail(std::move(checked.error()));
  }
  try {
    return std::make_unique<ThreadedClient>(std::move(loop), std::move(options), std::move(handlers));
  } catch (const std::exception& exception) {
    return fail(ErrorKind::resource, "starting the MQTT client: {}", exception.what());
  }
}

}  // namespace flops::mqtt
