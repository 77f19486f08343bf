#include "flops/worker/worker.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>
#include <utility>

#include <malloc.h>
#include <poll.h>

#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"

namespace flops::worker {
namespace {

constexpr std::chrono::milliseconds progress_interval{250};

// True when there is something to read (or the peer closed) within `wait`.
Result<bool> readable(int socket, std::chrono::milliseconds wait) {
  const SteadyTime until = SystemClock().steady() + wait;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - SystemClock().steady()).count();
    pollfd watched{socket, POLLIN, 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX)));
    if (ready >= 0) {
      return ready > 0;
    }
    if (errno != EINTR) {
      return fail(errno_error(errno, "waiting for a job"));
    }
  }
}

// Tells the agent how the job goes, and hears from it, between two batches.
class Line final : public JobObserver {
 public:
  explicit Line(int socket) : socket_(socket) {}

  Result<> progress(std::string_view phase, std::uint64_t done, std::uint64_t total) override {
    if (auto go_on = listen(); !go_on) {
      return go_on;
    }
    const SteadyTime now = SystemClock().steady();
    if (phase == phase_ && now - last_ < progress_interval) {
      return {};
    }
    phase_ = phase;
    last_ = now;
    trainer::Answer answer;
    answer.progress = trainer::Progress{std::string(phase), done, total};
    return trainer::send_packet(socket_, trainer::to_json(answer));
  }

  Result<> wait(std::chrono::milliseconds time) override {
    const auto ready = readable(socket_, time);
    return ready ? listen() : fail(ready.error());
  }

  void evaluated(const trainer::Evaluation& evaluation) override {
    trainer::Answer answer;
    answer.evaluation = evaluation;
    // A closed socket is noticed at the next batch.
    (void)trainer::send_packet(socket_, trainer::to_json(answer));
  }

  void checkpointed(const trainer::CheckpointNote& note) override {
    ++unanswered_;
    trainer::Answer answer;
    answer.checkpoint = note;
    (void)trainer::send_packet(socket_, trainer::to_json(answer));
  }

  [[nodiscard]] bool cancelled() const override { return cancelled_; }
  [[nodiscard]] bool suspended() const override { return suspended_; }
  [[nodiscard]] int unanswered() const override { return unanswered_; }

 private:
  // Everything that has come since the last time.
  Result<> listen() {
    for (;;) {
      const auto ready = readable(socket_, std::chrono::milliseconds(0));
      if (!ready) {
        return fail(ready.error());
      }
      if (!*ready) {
        return {};
      }
      const auto packet = trainer::receive_packet(socket_);
      if (!packet) {
        return fail(packet.error());
      }
      if (auto done = obey(trainer::parse_control(packet->text)); !done) {
        return done;
      }
    }
  }

  Result<> obey(std::optional<trainer::Control> control) {
    if (!control) {
      return fail(ErrorKind::bug, "the agent sent something other than a control while a job was running");
    }
    switch (*control) {
      case trainer::Control::cancel: cancelled_ = true; return fail(ErrorKind::cancelled, "the job was cancelled");
      case trainer::Control::suspend: suspended_ = true; break;
      case trainer::Control::kept: unanswered_ = std::max(0, unanswered_ - 1); break;
    }
    return {};
  }

  int socket_;
  SteadyTime last_{};
  std::string phase_;  // of the last progress: a new one is said at once
  bool cancelled_ = false;
  bool suspended_ = false;
  int unanswered_ = 0;
};

trainer::Answer answer_to(const trainer::Packet& packet, Runner& runner, int socket) {
  trainer::Answer answer;
  const auto job = trainer::parse_job(packet.text);
  if (!job) {
    answer.error = job.error();
    return answer;
  }
  Line line(socket);
  auto report = runner.run(*job, packet.descriptors, line);
  if (report) {
    answer.report = std::move(*report);
  } else {
    log::info("worker", "job '{}' of model '{}': {}", trainer::to_string(job->kind), job->model, report.error().what);
    answer.error = report.error();
  }
  return answer;
}

// The job and its answer; the descriptors are closed when it returns.
Result<> one_job(Runner& runner, int socket) {
  const auto packet = trainer::receive_packet(socket);
  if (!packet) {
    return fail(packet.error());
  }
  if (trainer::parse_control(packet->text)) {
    return {};  // it crossed with the end of its job
  }
  auto sent = trainer::send_packet(socket, trainer::to_json(answer_to(*packet, runner, socket)));
  ::malloc_trim(0);  // a warm worker keeps its data, not the last job's buffers
  runner.prepare();
  return sent;
}

}  // namespace

Result<> run_worker(const WorkerOptions& options, Runner& runner) {
  for (;;) {
    const auto ready = readable(options.socket, options.idle);
    if (!ready) {
      return fail(ready.error());
    }
    if (!*ready) {
      log::debug("worker", "no job for {} s", Seconds(options.idle).count());
      return {};
    }
    if (auto done = one_job(runner, options.socket); !done) {
      if (done.error().kind == ErrorKind::cancelled) {
        return {};  // the agent is gone
      }
      return done;
    }
  }
}

}  // namespace flops::worker
