#include "worker.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include <poll.h>
#include <sys/eventfd.h>

#include "probe.hpp"

namespace flops::mqtt {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds farewell_limit{1000};
constexpr milliseconds for_ever{-1};

Result<> not_connected() {
  return fail(ErrorKind::transient, "not connected to the broker");
}

bool is_operation(const Command& command) {
  return std::holds_alternative<PublishCommand>(command) || std::holds_alternative<SubscribeCommand>(command);
}

bool is_attempt(const Command& command) {
  return std::holds_alternative<ConnectCommand>(command) || std::holds_alternative<AbandonCommand>(command);
}

bool is_end(const Command& command) {
  return std::holds_alternative<DisconnectCommand>(command) || std::holds_alternative<AbandonCommand>(command);
}

Fd make_wake() {
  Fd made(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made.valid()) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  return made;
}

}  // namespace

Worker::Worker(Options options, std::shared_ptr<Mailbox> mailbox)
    : options_(std::move(options)), mailbox_(std::move(mailbox)), wake_(make_wake()), thread_([this] { run(); }) {}

Worker::~Worker() {
  stopping_ = true;
  wake();
  thread_.join();
}

void Worker::wake() const {
  static_cast<void>(::eventfd_write(wake_.get(), 1));  // fails only when it is set already
}

void Worker::add(Command command) {
  {
    const std::lock_guard lock(mutex_);
    if (auto* connect = std::get_if<ConnectCommand>(&command)) {
      for (Command& earlier : queue_) {
        auto* const same = std::get_if<ConnectCommand>(&earlier);
        if (same != nullptr && same->will && !connect->will) {
          connect->will = std::move(same->will);
        }
      }
      std::erase_if(queue_, is_attempt);
    }
    queue_.push_back(std::move(command));
  }
  wake();
}

void Worker::forget_operations() {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(queue_, is_operation);
  }
  wake();
}

bool Worker::ready(const Command& command) const {
  if (!connected()) {
    return true;
  }
  if (is_operation(command)) {
    return session_->room();
  }
  const auto* disconnect = std::get_if<DisconnectCommand>(&command);
  return disconnect == nullptr || session_->idle() || Clock::now() >= disconnect->deadline;
}

void Worker::make_way() {
  const auto end = std::ranges::find_if(queue_, is_end);
  if (end == queue_.end()) {
    return;
  }
  const auto* disconnect = std::get_if<DisconnectCommand>(&*end);
  if (disconnect != nullptr && Clock::now() < disconnect->deadline) {
    return;
  }
  for (auto at = queue_.begin(); at != end; ++at) {
    if (const auto* publish = std::get_if<PublishCommand>(&*at)) {
      mailbox_->put(Settled{publish->operation, not_connected()});
    } else if (const auto* subscribe = std::get_if<SubscribeCommand>(&*at)) {
      mailbox_->put(Settled{subscribe->operation, not_connected()});
    } else if (auto* connect = std::get_if<ConnectCommand>(&*at)) {
      change_will(std::move(connect->will));
    }
  }
  queue_.erase(queue_.begin(), end);
}

bool Worker::ending() {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(queue_, is_end);
}

std::optional<Command> Worker::next() {
  const std::lock_guard lock(mutex_);
  make_way();
  if (queue_.empty() || !ready(queue_.front())) {
    return std::nullopt;
  }
  Command command = std::move(queue_.front());
  queue_.pop_front();
  return command;
}

void Worker::execute_ready() {
  while (!stopping_) {
    auto command = next();
    if (!command) {
      return;
    }
    std::visit([this](auto& given) { execute(given); }, *command);
  }
}

milliseconds Worker::patience() {
  // Whether a ping is due, or an answer overdue, is looked at ten times in a keep-alive.
  const bool live = session_ && session_->socket() >= 0;
  milliseconds longest = live ? std::max(milliseconds{options_.keep_alive} / 10, milliseconds{500}) : for_ever;
  const std::lock_guard lock(mutex_);
  const auto end = std::ranges::find_if(queue_, is_end);
  if (const auto* disconnect = end == queue_.end() ? nullptr : std::get_if<DisconnectCommand>(&*end)) {
    const auto left = std::chrono::ceil<milliseconds>(disconnect->deadline - Clock::now());
    longest = std::clamp(left, milliseconds{0}, longest < milliseconds{0} ? left : longest);
  }
  return longest;
}

void Worker::wait(milliseconds longest) {
  std::array<pollfd, 2> entries{{{wake_.get(), POLLIN, 0}, {-1, 0, 0}}};
  if (session_ && session_->socket() >= 0) {
    entries[1] = {session_->socket(), session_->events(), 0};
  }
  static_cast<void>(::poll(entries.data(), entries.size(), static_cast<int>(longest.count())));
  if (entries[0].revents != 0) {
    eventfd_t count = 0;
    static_cast<void>(::eventfd_read(wake_.get(), &count));
  }
  if (entries[1].fd >= 0) {
    session_->work(entries[1].revents);
  }
}

void Worker::run() {
  execute_ready();
  while (!stopping_) {
    wait(patience());
    if (const auto addresses = session_ ? session_->failed_silently() : std::nullopt) {
      const Attempt attempt = session_->attempt();
      session_.reset();
      mailbox_->put(
          ConnectFailed{attempt, find_reason(options_, *addresses, [this] { return stopping_ || ending(); })});
    }
    execute_ready();
  }
  farewell();
}

void Worker::farewell() {
  if (connected()) {
    session_->break_off();
    for (const auto deadline = Clock::now() + farewell_limit; session_->socket() >= 0 && Clock::now() < deadline;) {
      wait(std::chrono::ceil<milliseconds>(deadline - Clock::now()));
    }
  }
  session_.reset();
}

void Worker::change_will(std::optional<std::string> payload) {
  if (payload && options_.will) {
    options_.will->payload = *std::move(payload);
  }
}

void Worker::execute(ConnectCommand& command) {
  change_will(std::move(command.will));
  session_ = std::make_unique<Session>(options_, command.attempt, mailbox_);
  session_->connect();
  wake();  // it may have failed already
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

}  // namespace flops::mqtt
