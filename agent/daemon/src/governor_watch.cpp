#include "governor_watch.hpp"

#include <utility>

#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"

namespace flops::agent {

GovernorWatch::GovernorWatch(const boost::asio::any_io_executor& loop, Conditions conditions, Probes& probes,
                             OnChange on_change, std::chrono::milliseconds period)
    : timer_(loop),
      conditions_(std::move(conditions)),
      probes_(probes),
      on_change_(std::move(on_change)),
      period_(period),
      governor_(std::make_unique<Governor>(conditions_)) {}

void GovernorWatch::start(OwnProcesses own) {
  if (session_) {
    return;
  }
  own_ = std::move(own);
  session_ = std::make_shared<const int>(0);
  judge();
  if (!verdict().run()) {
    log::info("governor", "training waits: {}", verdict().reason);
  }
  wait();
}

void GovernorWatch::stop() {
  session_.reset();
  timer_.cancel();
  own_ = {};
  governor_ = std::make_unique<Governor>(conditions_);
}

void GovernorWatch::configure(Conditions conditions) {
  conditions_ = std::move(conditions);
  if (!session_) {
    governor_ = std::make_unique<Governor>(conditions_);
    return;
  }
  const Cause before = verdict().cause;
  governor_ = std::make_unique<Governor>(conditions_);
  look_after(before);
}

void GovernorWatch::judge() {
  const SystemClock clock;
  const std::vector<int> own = own_();
  governor_->judge(probes_.read(own), clock.steady(), local_time(clock.wall()));
}

void GovernorWatch::wait() {
  timer_.expires_after(period_);
  timer_.async_wait([this, session = std::weak_ptr(session_)](boost::system::error_code cancelled) {
    if (!cancelled && !session.expired()) {
      look();
    }
  });
}

void GovernorWatch::look() {
  look_after(verdict().cause);
}

void GovernorWatch::look_after(Cause before) {
  judge();
  wait();
  if (verdict().cause == before) {
    return;
  }
  if (verdict().run()) {
    log::info("governor", "training goes on");
  } else {
    log::info("governor", "training waits: {}", verdict().reason);
  }
  // Copies: the callback may stop or destroy this.
  const Verdict verdict_now = verdict();
  const OnChange on_change = on_change_;
  on_change(verdict_now);
}

}  // namespace flops::agent
