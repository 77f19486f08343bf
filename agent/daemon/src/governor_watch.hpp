// Asks the governor every second, as long as it is wanted: an agent with nothing to train never wakes up for it. Loop's
// thread only; probes are read there.
//
//   GovernorWatch watch(loop, config.conditions, probes, [this](const Verdict& verdict) { ... });
//   watch.start([this] { return own_processes(); });   // there is something to train
//   if (!watch.verdict().run()) { ...wait for the callback... }
//   watch.stop();                                      // there is nothing any more
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/agent_governor/governor.hpp"
#include "flops/agent_governor/probes.hpp"

namespace flops::agent {

class GovernorWatch {
 public:
  using OwnProcesses = std::function<std::vector<int>()>;  // their ids: the agent's own and its trainer's
  using OnChange = std::function<void(const Verdict&)>;

  // `on_change` is called when the verdict has another cause, or none any more; it may stop or destroy the watch.
  // `probes` outlives it.
  GovernorWatch(const boost::asio::any_io_executor& loop, Conditions conditions, Probes& probes, OnChange on_change,
                std::chrono::milliseconds period = std::chrono::seconds(1));

  // Judges at once: verdict() is up to date when this returns, and on_change is for what comes after it. No effect when
  // it watches already.
  void start(OwnProcesses own);
  // Other conditions from now on; judged at once when it watches.
  void configure(Conditions conditions);
  // Forgets everything; verdict() allows to run.
  void stop();
  [[nodiscard]] const Verdict& verdict() const { return governor_->verdict(); }

 private:
  void judge();
  void wait();
  void look();
  void look_after(Cause before);

  boost::asio::steady_timer timer_;
  Conditions conditions_;
  Probes& probes_;
  const OnChange on_change_;
  const std::chrono::milliseconds period_;
  OwnProcesses own_;
  std::unique_ptr<Governor> governor_;
  std::shared_ptr<const int> session_;  // from start to stop; a timer that comes later finds it gone
};

}  // namespace flops::agent
