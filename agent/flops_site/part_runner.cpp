#include "part_runner.hpp"

#include <algorithm>
#include <functional>

#include <sys/stat.h>

#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"
#include "part_json.hpp"
#include "part_transfer.hpp"

namespace flops::site {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using trainer::Job;
using trainer::JobKind;
using trainer::JobReport;

constexpr seconds retry_pause{2};
constexpr milliseconds poll_pause{500};
constexpr seconds slow_poll_pause{2};  // of a part that takes its time
constexpr seconds slow_after{60};
constexpr seconds farewell_patience{2};  // the agent waits for the end of a cancelled job

constexpr int not_found = 404;
constexpr int max_sendings = 3;

std::size_t descriptors_of(const Job& job) {
  return job.kind != JobKind::train ? 1 : job.part->sum ? 3 : 2;
}

bool comes_and_goes(ErrorKind kind) {
  return kind == ErrorKind::transient || kind == ErrorKind::clock;
}

// One job.
class Work {
 public:
  Work(const SiteApi& api, const Job& job, const std::vector<Fd>& descriptors, worker::JobObserver& observer)
      : api_(api), job_(job), part_(*job.part), descriptors_(descriptors), observer_(observer) {}

  Result<JobReport> run();

 private:
  using Attempt = std::function<Result<>()>;

  [[nodiscard]] std::string path() const { return "/v1/parts/" + part_.key; }
  [[nodiscard]] int result() const { return descriptors_[job_.kind == JobKind::init ? 0 : 1].get(); }
  [[nodiscard]] Result<> check();
  void forget_others();
  [[nodiscard]] Result<> begin();
  [[nodiscard]] Result<http::ClientResponse> post();
  [[nodiscard]] Result<> follow();
  [[nodiscard]] Result<> look();
  [[nodiscard]] Result<JobReport> collect();
  [[nodiscard]] Result<> collect_model(JobReport& report);
  // Until it works, or fails for good.
  [[nodiscard]] Result<> insist(const Attempt& attempt);
  [[nodiscard]] Result<> say(std::string_view phase, std::uint64_t done = 0, std::uint64_t total = 0);
  [[nodiscard]] Result<> wait(milliseconds time);
  [[nodiscard]] Result<> suspended() const;

  const SiteApi& api_;
  const Job& job_;
  const trainer::Part& part_;
  const std::vector<Fd>& descriptors_;
  worker::JobObserver& observer_;
  const SteadyTime begun_ = SystemClock().steady();
  std::optional<tensor::Layout> layout_;
  std::string request_;
  PartView view_;
};

Result<> Work::suspended() const {
  return observer_.suspended() ? fail(ErrorKind::cancelled, "the job was suspended; its part goes on at the site")
                               : Result<>();
}

Result<> Work::say(std::string_view phase, std::uint64_t done, std::uint64_t total) {
  auto go_on = observer_.progress(phase, done, total);
  return go_on ? suspended() : go_on;
}

Result<> Work::wait(milliseconds time) {
  auto go_on = observer_.wait(time);
  return go_on ? suspended() : go_on;
}

Result<> Work::insist(const Attempt& attempt) {
  bool said = false;
  for (;;) {
    auto done = attempt();
    if (done || !comes_and_goes(done.error().kind)) {
      return done;
    }
    if (!std::exchange(said, true)) {
      log::warn("site", "part {}: {}; it is tried again", part_.key, done.error().what);
    }
    auto go_on = say("unreachable");
    go_on = go_on ? wait(retry_pause) : go_on;
    if (!go_on) {
      return go_on;
    }
  }
}

Result<> Work::check() {
  if (descriptors_.size() != descriptors_of(job_)) {
    return fail(ErrorKind::permanent, "a part '{}' comes with {} descriptors, not {}", trainer::to_string(job_.kind),
                descriptors_of(job_), descriptors_.size());
  }
  auto request = part_request(job_);
  if (!request) {
    return fail(request.error());
  }
  request_ = *std::move(request);
  if (job_.kind == JobKind::init) {
    return {};
  }
  auto layout = tensor::Layout::parse(part_.layout);
  if (!layout) {
    return fail(layout.error(), "the part's layout");
  }
  struct stat info{};
  const bool fits =
      ::fstat(descriptors_[0].get(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) == layout->bytes();
  if (layout->id() != job_.layout || !fits) {
    return fail(ErrorKind::permanent, "the memory with the base model is not that of the part's layout");
  }
  layout_ = *std::move(layout);
  return {};
}

// What the agent will not ask for again. Of no account for this job: the next one sees what is left.
void Work::forget_others() {
  const auto answer = api_.call("GET", "/v1/parts");
  if (!answer || answer->status != 200) {
    return;
  }
  const auto keys = parse_part_keys(answer->body);
  if (!keys) {
    log::warn("site", "{}", keys.error().what);
    return;
  }
  for (const std::string& key : *keys) {
    if (key != part_.key && std::ranges::find(part_.needed, key) == part_.needed.end()) {
      log::info("site", "part {} is not needed any more", key);
      (void)api_.call("DELETE", "/v1/parts/" + key);
    }
  }
}

// Without the base model there it is 404: it is sent then, and only then, because it may be large. It may be gone again
// before the part names it, but not every time.
Result<http::ClientResponse> Work::post() {
  auto answer = api_.call("POST", "/v1/parts", request_);
  for (int sent = 0; layout_ && answer && answer->status == not_found && sent < max_sendings; ++sent) {
    auto taken = send_model(api_, part_.base, *layout_, descriptors_[0].get(), [this] { return say("loading"); });
    answer = taken ? api_.call("POST", "/v1/parts", request_) : fail(taken.error());
  }
  return answer;
}

Result<> Work::begin() {
  return insist([this]() -> Result<> {
    const auto answer = post();
    if (!answer) {
      return fail(answer.error());
    }
    const bool taken = answer->status == 200 || answer->status == 201;
    return taken ? Result<>() : fail(refusal("the part", *answer));
  });
}

Result<> Work::look() {
  auto answer = api_.call("GET", path());
  if (!answer) {
    return fail(answer.error());
  }
  if (answer->status == not_found) {  // the site has lost it with its records, or somebody removed it
    log::warn("site", "part {} is not at the site any more; it begins again", part_.key);
    return begin();
  }
  if (answer->status != 200) {
    return fail(refusal("GET " + path(), *answer));
  }
  auto view = parse_part(answer->body);
  if (!view) {
    return fail(view.error());
  }
  view_ = *std::move(view);
  return {};
}

// Until it is over.
Result<> Work::follow() {
  for (;;) {
    if (auto looked = insist([this] { return look(); }); !looked) {
      return looked;
    }
    switch (view_.state) {
      case State::finished: return {};
      case State::failed: return fail(ErrorKind::permanent, "{} of the site failed: {}", view_.run, view_.reason);
      case State::stopped: return fail(ErrorKind::permanent, "{} was stopped at the site: {}", view_.run, view_.reason);
      case State::queued:
      case State::working: break;
    }
    const std::string_view phase = view_.state == State::queued     ? "queued"
                                   : job_.kind == JobKind::evaluate ? "evaluating"
                                                                    : "training";
    auto go_on = say(phase, view_.round, view_.rounds);
    const bool slow = SystemClock().steady() - begun_ > slow_after;
    go_on = go_on ? wait(slow ? milliseconds(slow_poll_pause) : poll_pause) : go_on;
    if (!go_on) {
      return go_on;
    }
  }
}

Result<> Work::collect_model(JobReport& report) {
  const PartResult& found = *view_.result;
  if (job_.kind == JobKind::init) {
    auto layout = tensor::Layout::parse(found.layout);
    if (!layout) {
      return fail(layout.error(), "the layout of the site's model");
    }
    layout_ = *std::move(layout);
    report.layout = found.layout;
  }
  if (found.model.empty()) {
    return fail(ErrorKind::permanent, "{} of the site ended without a model", view_.run);
  }
  const auto alive = [this] { return say("loading"); };
  auto fetched = insist([&] { return fetch_model(api_, found.model, *layout_, result(), alive); });
  if (!fetched || job_.kind == JobKind::init || !part_.sum || !found.sum) {
    return fetched;
  }
  report.sum_bytes = found.sum_bytes;
  return insist([&] { return fetch_sum(api_, part_.key, *layout_, found.sum_bytes, descriptors_[2].get(), alive); });
}

Result<JobReport> Work::collect() {
  if (!view_.result) {
    return fail(ErrorKind::permanent, "{} of the site ended without a result", view_.run);
  }
  const PartResult& found = *view_.result;
  JobReport report;
  const double waited = Seconds(SystemClock().steady() - begun_).count();
  const bool measured = job_.kind == JobKind::evaluate || job_.evaluate_first;
  if (measured && found.metrics && found.metrics->samples > 0) {
    report.evaluation = found.metrics;
    report.evaluation->seconds = job_.kind == JobKind::evaluate ? waited : 0;
  }
  if (job_.kind == JobKind::evaluate) {
    return report;
  }
  if (auto collected = collect_model(report); !collected) {
    return fail(collected.error());
  }
  report.samples = found.weight;
  report.steps = found.steps;
  report.train_loss = found.train_loss;
  report.train_seconds = job_.kind == JobKind::train ? waited : 0;
  return report;
}

Result<JobReport> Work::run() {
  if (auto checked = check(); !checked) {
    return fail(checked.error());
  }
  auto done = say("loading");
  if (done) {
    forget_others();
    done = begin();
  }
  done = done ? follow() : done;
  auto report = done ? collect() : fail(done.error());
  if (!report && observer_.cancelled()) {
    (void)api_.call("DELETE", path(), {}, farewell_patience);
  }
  return report;
}

}  // namespace

Result<JobReport> PartRunner::run(const Job& job, const std::vector<Fd>& descriptors, worker::JobObserver& observer) {
  if (!job.part) {
    return fail(ErrorKind::permanent, "a job without a part came to flops-site: it is for flops-trainer");
  }
  return Work(api_, job, descriptors, observer).run();
}

}  // namespace flops::site
