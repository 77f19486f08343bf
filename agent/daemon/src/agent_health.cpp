// What is wrong with this device, and what its clock was when that was right.
#include "agent.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"
#include "time_seen.hpp"

namespace flops::agent {
namespace {

constexpr std::int64_t remember_every = std::int64_t{6} * 3600;  // seconds: each time is a write to the card

}  // namespace

void Agent::raise(std::string_view name, std::string_view text) {
  if (health_.set(name, text, std::chrono::steady_clock::now())) {
    log::error("health", "{}: {}", name, text);
  }
  state_changed_soon();
}

void Agent::clear(std::string_view name) {
  if (health_.clear(name)) {
    log::info("health", "{}: all is well again", name);
    state_changed_soon();
  }
}

// Without it, or when it cannot be read, what is left are the certificates and when this program was written.
std::int64_t Agent::newest_time_seen() {
  time_remembered_ = stored_time_seen(storage_);
  return time_remembered_;
}

// A connection means that the broker's certificate and ours are valid by this clock.
void Agent::remember_time() {
  const std::int64_t now = unix_ms(SystemClock().wall()) / 1000;
  if (!link_ || !link_->up() || now < time_remembered_ + remember_every) {
    return;
  }
  if (auto stored = store_time_seen(storage_, now); stored) {
    time_remembered_ = now;
  } else {
    log::debug("health", "remembering the time: {}", stored.error().what);
  }
}

void Agent::on_link_failed(const Error& error) {
  if (error.kind == ErrorKind::clock) {
    raise("clock", error.what);
  }
}

}  // namespace flops::agent
