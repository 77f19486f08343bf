#include "worker.hpp"

#include "probe.hpp"

namespace flops::mqtt {
namespace {

constexpr std::chrono::milliseconds farewell{1000};

Result<> not_connected() {
  return fail(ErrorKind::transient, "not connected to the broker");
}

bool is_operation(const Command& command) {
  return std::holds_alternative<PublishCommand>(command) || std::holds_alternative<SubscribeCommand>(command);
}

}  // namespace

Worker::Worker(Options options, std::shared_ptr<Mailbox> mailbox)
    : options_(std::move(options)), mailbox_(std::move(mailbox)), thread_([this] { run(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Worker::add(Command command) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(command));
  }
  changed_.notify_all();
}

void Worker::forget_operations() {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(queue_, is_operation);
  }
  changed_.notify_all();
}

bool Worker::ready(const Command& command) const {
  if (!connected()) {
    return true;
  }
  if (is_operation(command)) {
    return session_->room();
  }
  const auto* disconnect = std::get_if<DisconnectCommand>(&command);
  return disconnect == nullptr || session_->idle() || std::chrono::steady_clock::now() >= disconnect->deadline;
}

std::optional<Command> Worker::next() {
  std::unique_lock lock(mutex_);
  while (!stopping_ && (queue_.empty() || !ready(queue_.front()))) {
    const auto* disconnect = queue_.empty() ? nullptr : std::get_if<DisconnectCommand>(&queue_.front());
    if (disconnect != nullptr) {
      changed_.wait_until(lock, disconnect->deadline);
    } else {
      changed_.wait(lock);
    }
  }
  if (stopping_) {
    return std::nullopt;
  }
  Command command = std::move(queue_.front());
  queue_.pop_front();
  return command;
}

void Worker::run() {
  while (auto command = next()) {
    std::visit([this](auto& given) { execute(given); }, *command);
  }
  if (connected()) {
    session_->break_off(farewell);
  }
  session_.reset();
}

bool Worker::stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Worker::execute(ConnectCommand& command) {
  if (command.will && options_.will) {
    options_.will->payload = *std::move(command.will);
  }
  SessionHooks hooks;
  // Passing through the mutex makes sure that next() does not miss the change between looking and waiting.
  hooks.changed = [this] {
    {
      const std::lock_guard lock(mutex_);
    }
    changed_.notify_all();
  };
  hooks.failed = [this, attempt = command.attempt] { add(ExplainCommand{attempt}); };
  auto fresh = std::make_unique<Session>(options_, command.attempt, mailbox_, std::move(hooks));
  // In this order Paho never has no client, and so does not stop and start its threads.
  session_ = std::move(fresh);
  session_->connect();
}

void Worker::execute(PublishCommand& command) {
  if (!connected()) {
    mailbox_->put(Settled{command.operation, not_connected()});
    return;
  }
  session_->publish(command.operation, command.topic, command.payload, command.options);
}

void Worker::execute(SubscribeCommand& command) {
  if (!connected()) {
    mailbox_->put(Settled{command.operation, not_connected()});
  } else if (command.unsubscribe) {
    session_->unsubscribe(command.operation, command.filters);
  } else {
    session_->subscribe(command.operation, command.filters);
  }
}

void Worker::execute(DisconnectCommand& command) {
  if (connected() && session_->attempt() == command.attempt) {
    session_->disconnect();
  } else {
    mailbox_->put(Disconnected{command.attempt});
  }
}

void Worker::execute(AbandonCommand&) {
  session_.reset();
}

void Worker::execute(ExplainCommand& command) {
  mailbox_->put(ConnectFailed{command.attempt, find_reason(options_, [this] { return stopping(); })});
}

}  // namespace flops::mqtt
