// Updates with a control variate: when it is adopted, and what waits for that.
#include <doctest/doctest.h>

#include "machine_script.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::script;

namespace {

constexpr auto accepted = wire::ReceiptStatus::accepted;
constexpr auto duplicate = wire::ReceiptStatus::duplicate;
constexpr auto rejected = wire::ReceiptStatus::rejected;

wire::Task scaffold_task(const char* id = "t1", std::int64_t round = 1, wire::TaskKind kind = wire::TaskKind::train) {
  wire::Task task = make_task(kind, id, round);
  task.training.control_variates = true;
  return task;
}

const Events running = {arrived(scaffold_task(), true), event::Chosen{}};
const Events encoding = running + Events{trained()};
const Events offering = encoding + Events{encoded()};
const Events uploading = offering + Events{granted({{0, 3}})};
const Events failed = running + Events{event::TrainFailed{error(ErrorKind::permanent)}};
const Events init = {arrived(scaffold_task("t1", 0, wire::TaskKind::init)), event::Chosen{}, trained(), encoded()};
const Events plain = {arrived(make_task(), true), event::Chosen{}, trained(), encoded()};

}  // namespace

TEST_CASE("control variates: adopted when the update counts, before it is forgotten, and only then") {
  check_rows({
      {"accepted", uploading, receipted(accepted), Phase::finished, "adopt, stop, forget"},
      {"a duplicate counts", uploading, receipted(duplicate), Phase::finished, "adopt, stop, forget"},
      {"before a grant", offering, receipted(accepted), Phase::finished, "adopt, stop, forget"},
      {"whichever update brought it", offering, receipted(accepted, other_update), Phase::finished,
       "adopt, stop, forget"},
      {"rejected", uploading, receipted(rejected), Phase::finished, "stop, forget"},
      {"another update is rejected", uploading, receipted(rejected, other_update), Phase::uploading, ""},
      {"cancelled", uploading, event::Cancelled{}, Phase::finished, "stop, forget"},
      {"counts before there is one", encoding, receipted(accepted), Phase::finished, "stop, forget"},
      {"a failed result has none", failed, receipted(accepted), Phase::finished, "stop, forget"},
      {"initial parameters have none", init, receipted(accepted), Phase::finished, "stop, forget"},
      {"nor has a run without", plain, receipted(accepted), Phase::finished, "stop, forget"},
      {"over: nothing", uploading + Events{receipted(accepted)}, receipted(accepted), Phase::finished, ""},
  });
}

TEST_CASE("control variates: the next round of the run waits for the receipt, nothing else does") {
  const TaskState offered = after(offering);
  const wire::Task next = scaffold_task("t2", 2);
  const TaskState waiting = after({arrived(next, true)});
  const TaskState other_run = [&] {
    TaskState state = waiting;
    state.task.ref.run = *RunId::parse("run-2");
    return state;
  }();
  const TaskState evaluation = after({arrived(scaffold_task("e1", 2, wire::TaskKind::evaluate), true)});
  const std::vector<const TaskState*> open = {&offered, &waiting};
  CHECK(admit({&offered}, next, UINT64_MAX).superseded.empty());
  CHECK(admit({&offered}, next, UINT64_MAX).refusal == "");
  CHECK(must_wait(open, waiting));
  CHECK_FALSE(must_wait(open, offered));
  CHECK_FALSE(must_wait(open, other_run));
  CHECK_FALSE(must_wait(open, evaluation));
  // The one after the next replaces what waits.
  const wire::Task later = scaffold_task("t3", 3);
  CHECK(admit(open, later, UINT64_MAX).superseded == std::vector{next.ref.task});

  for (const Events& events : {running, encoding, failed, plain}) {
    const TaskState undecided = after(events);
    CHECK_FALSE(must_wait({&undecided, &waiting}, waiting));
    CHECK(admit({&undecided}, next, UINT64_MAX).superseded == std::vector{undecided.task.ref.task});
  }
}
