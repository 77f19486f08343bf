#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "machine_script.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::script;

namespace {

constexpr auto accepted = wire::ReceiptStatus::accepted;
constexpr auto duplicate = wire::ReceiptStatus::duplicate;
constexpr auto rejected = wire::ReceiptStatus::rejected;

// The usual way, as far as the name says.
const Events fetching = {arrived(make_task())};
const Events assembling = fetching + Events{event::ChunksComplete{}};
const Events ready = assembling + Events{event::Assembled{}};
const Events running = ready + Events{event::Chosen{}};
const Events encoding = running + Events{trained()};
const Events offering = encoding + Events{encoded()};
const Events uploading = offering + Events{granted({{0, 3}})};
const Events finished = uploading + Events{receipted(accepted)};
const Events failed = running + Events{event::TrainFailed{error(ErrorKind::permanent)}};

}  // namespace

TEST_CASE("task: the way from the command to the receipt") {
  check_rows({
      {"a task whose base is unknown is fetched", {}, arrived(make_task()), Phase::fetching, "ack accepted, fetch"},
      {"a task whose base is held is ready", {}, arrived(make_task(), true), Phase::ready, "ack accepted"},
      {"an init task needs no base", {}, arrived(make_task(wire::TaskKind::init)), Phase::ready, "ack accepted"},
      {"a held delta base is enough", {}, arrived(delta_task()), Phase::fetching, "ack accepted, fetch"},
      {"all chunks: assemble", fetching, event::ChunksComplete{}, Phase::assembling, "assemble"},
      {"assembled: ready", assembling, event::Assembled{}, Phase::ready, ""},
      {"chosen: train", ready, event::Chosen{}, Phase::running, "train"},
      {"evaluated: metrics at once", running, evaluated(), Phase::running, "metrics"},
      {"trained: encode", running, trained(), Phase::encoding, "encode"},
      {"encoded: offer", encoding, encoded(), Phase::offering, "result"},
      {"granted: send", offering, granted({{0, 1}, {3, 3}}), Phase::uploading, "chunks 0-1 3-3"},
      {"granted more: send", uploading, granted({{2, 2}}), Phase::uploading, "chunks 2-2"},
      {"receipt: forget", uploading, receipted(accepted), Phase::finished, "stop, forget"},
  });
}

TEST_CASE("task: an evaluation ends with a result without an update") {
  const Events evaluating = {arrived(make_task(wire::TaskKind::evaluate), true), event::Chosen{}};
  const TaskState said = after(evaluating + Events{evaluated(), trained(0)});
  CHECK(said.phase == Phase::offering);
  REQUIRE(said.result.has_value());
  CHECK(said.result->ok);
  CHECK(said.result->update.size == 0);
  CHECK(said.metrics == evaluated().metrics);
  CHECK(after(evaluating + Events{evaluated(), trained(0), receipted(accepted, Digest{})}).phase == Phase::finished);
}

TEST_CASE("task: the result says what was trained and from which base") {
  const TaskState state = after(offering);
  REQUIRE(state.result.has_value());
  CHECK(state.result->ref == make_task().ref);
  CHECK(state.result->base == base);
  CHECK(state.result->weight == 600);
  CHECK(state.result->train_loss == 0.5);
  CHECK(state.result->update == wire::BlobRef{update, update_size});
}

TEST_CASE("task: the result says in which codec its update is, whatever the task offered") {
  wire::Task task = make_task();
  task.codec = wire::sum_codec;
  task.part = wire::Part{};
  for (const char* codec : {wire::sum_codec, wire::lossless_codec}) {
    event::Encoded made = encoded();
    made.codec = codec;
    const TaskState state = after({arrived(task, true), event::Chosen{}, trained(), made});
    REQUIRE(state.result);
    CHECK(state.result->codec == codec);
    CHECK(state.result->weight == trained().outcome.weight);
  }
}

TEST_CASE("task: what cannot be done is declined, and may come again") {
  event::Arrived refused = arrived(make_task());
  refused.refusal = "no data set 'mnist'";
  event::Arrived no_base = arrived(delta_task());
  no_base.holds_delta_base = false;
  wire::Task without_blob = make_task();
  without_blob.base_blob.reset();
  check_rows({
      {"a refusal", {}, refused, Phase::absent, "ack declined, forget"},
      {"the delta's base is missing", {}, no_base, Phase::absent, "ack need_full, forget"},
      {"neither base nor blob", {}, arrived(without_blob), Phase::absent, "ack need_full, forget"},
      {"then the complete blob comes", {no_base}, arrived(make_task()), Phase::fetching, "ack accepted, fetch"},
      {"the base went away while it waited", ready, event::BaseMissing{}, Phase::absent, "stop, ack need_full, forget"},
      {"the base went away before assembling", assembling, event::BaseMissing{}, Phase::absent,
       "stop, ack need_full, forget"},
  });
}

TEST_CASE("task: a repeated task is acknowledged again and not done again") {
  check_rows({
      {"while fetching", fetching, arrived(make_task()), Phase::fetching, "ack accepted"},
      {"while running", running, arrived(make_task()), Phase::running, "ack accepted"},
      {"while encoding", encoding, arrived(make_task()), Phase::encoding, "ack accepted"},
      {"while offering the result is said again", offering, arrived(make_task()), Phase::offering, "result"},
      {"while uploading", uploading, arrived(make_task()), Phase::uploading, "result"},
      {"after the receipt nothing happens", finished, arrived(make_task()), Phase::finished, ""},
      {"another blob for the same base replaces the fetch", fetching, arrived(delta_task()), Phase::fetching,
       "stop, drop blob, ack accepted, fetch"},
      {"another blob does not matter any more", running, arrived(delta_task()), Phase::running, "ack accepted"},
  });
}

TEST_CASE("task: events that do not fit the phase change nothing") {
  const std::vector<Event> events = {
      event::ChunksComplete{},   event::Assembled{},  event::Chosen{},     evaluated(),
      event::MetricsDelivered{}, trained(),           encoded(),           granted({{0, 0}}),
      receipted(accepted),       event::Cancelled{},  event::Superseded{}, event::Connected{},
      event::Restarted{},        event::BaseMissing{}};
  for (const Events& before : {Events{}, finished}) {
    for (const Event& event : events) {
      const Step step = on_event(after(before), event);
      CHECK(step.next == after(before));
      CHECK(step.actions.empty());
    }
  }
  check_rows({
      {"chunks twice", assembling, event::ChunksComplete{}, Phase::assembling, ""},
      {"assembled twice", ready, event::Assembled{}, Phase::ready, ""},
      {"a late evaluation", offering, evaluated(), Phase::offering, ""},
      {"trained twice", encoding, trained(), Phase::encoding, ""},
      {"another encoding never replaces the result", offering, encoded(other_update), Phase::offering, ""},
      {"a grant before the result", running, granted({{0, 0}}), Phase::running, ""},
      {"a grant for another blob", offering, granted({{0, 0}}, other_update), Phase::offering, ""},
      {"a grant of chunks that do not exist", offering, granted({{4, 9}, {3, 2}}), Phase::offering, ""},
      {"a grant that goes too far is cut", offering, granted({{2, 4000000000U}}), Phase::uploading, "chunks 2-3"},
      {"a grant for a failed result", failed, granted({{0, 0}}, Digest{}), Phase::offering, ""},
      {"a rejection of another update", uploading, receipted(rejected, other_update), Phase::uploading, ""},
      {"a rejection before the result", running, receipted(rejected), Phase::running, ""},
  });
}

TEST_CASE("task: a receipt is final") {
  check_rows({
      {"duplicate", offering, receipted(duplicate), Phase::finished, "stop, forget"},
      {"rejected", uploading, receipted(rejected), Phase::finished, "stop, forget"},
      {"without a blob", uploading, receipted(rejected, Digest{}), Phase::finished, "stop, forget"},
      {"of a failed result", failed, receipted(accepted, Digest{}), Phase::finished, "stop, forget"},
      {"counted already by an earlier life of this device", running, receipted(duplicate, other_update),
       Phase::finished, "stop, forget"},
  });
}

TEST_CASE("task: cancel and supersede end it in every phase") {
  for (const Events& before : {fetching, assembling, ready, running, encoding, offering, uploading}) {
    for (const Event& event : {Event(event::Cancelled{}), Event(event::Superseded{})}) {
      const Step step = on_event(after(before), event);
      CHECK(step.next.phase == Phase::finished);
      CHECK(names(step.actions) == "stop, forget");
    }
  }
}

TEST_CASE("task: failures are retried when that can help, and reported when not") {
  const event::TrainFailed crash{error(ErrorKind::transient)};
  const Events crashed_twice = running + Events{crash, event::Chosen{}, crash, event::Chosen{}};
  const event::AssembleFailed damaged{error(ErrorKind::corrupt)};
  const Events damaged_twice = assembling + Events{damaged, event::ChunksComplete{}, damaged, event::ChunksComplete{}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  check_rows({
      {"the trainer crashed", running, crash, Phase::ready, ""},
      {"out of memory", running, event::TrainFailed{error(ErrorKind::resource)}, Phase::ready, ""},
      {"it crashed three times", crashed_twice, crash, Phase::offering, "drop blob, result"},
      {"an unknown model", running, event::TrainFailed{error(ErrorKind::permanent)}, Phase::offering,
       "drop blob, result"},
      {"the agent stops", running, event::TrainFailed{error(ErrorKind::cancelled)}, Phase::ready, ""},
      {"the loss is not finite", running, trained(600, nan), Phase::offering, "drop blob, result"},
      {"no samples", running, trained(0), Phase::offering, "drop blob, result"},
      {"too many samples", running, trained(1ULL << 31U), Phase::offering, "drop blob, result"},
      {"the base model's loss is not finite", running, evaluated(nan), Phase::offering, "stop, drop blob, result"},
      {"damaged chunks are fetched again", assembling, damaged, Phase::fetching, "drop blob, fetch"},
      {"damaged three times", damaged_twice, damaged, Phase::offering, "drop blob, result"},
      {"no memory to decode", assembling, event::AssembleFailed{error(ErrorKind::resource)}, Phase::assembling,
       "assemble"},
      {"another layout", assembling, event::AssembleFailed{error(ErrorKind::permanent)}, Phase::offering,
       "drop blob, result"},
      {"the agent stops while decoding", assembling, event::AssembleFailed{error(ErrorKind::cancelled)},
       Phase::assembling, ""},
      {"encoding fails for good", encoding, event::EncodeFailed{error(ErrorKind::permanent)}, Phase::offering,
       "drop blob, result"},
      {"encoding lacks memory: train again", encoding, event::EncodeFailed{error(ErrorKind::resource)}, Phase::ready,
       ""},
  });
  CHECK(after(crashed_twice + Events{crash}).result->reason == "failed 3 times: told so");
  CHECK_FALSE(after(failed).result->ok);
  CHECK(after(failed).result->reason == "told so");
}

TEST_CASE("task: a reason is cut to the protocol's limit between two characters") {
  std::string reason;
  for (int i = 0; i < 400; ++i) {
    reason += "±";
  }
  const TaskState state = after(running + Events{event::TrainFailed{{ErrorKind::permanent, "x" + reason}}});
  REQUIRE(state.result.has_value());
  CHECK(state.result->reason.size() == wire::max_reason - 1);
  CHECK(state.result->reason.ends_with("±"));
}

TEST_CASE("task: after a connect everything open is said again") {
  const Events measured = running + Events{evaluated()};
  check_rows({
      {"fetching", fetching, event::Connected{}, Phase::fetching, "ack accepted, fetch"},
      {"running", running, event::Connected{}, Phase::running, "ack accepted"},
      {"with metrics nobody has", measured, event::Connected{}, Phase::running, "ack accepted, metrics"},
      {"with metrics the broker has", measured + Events{event::MetricsDelivered{}}, event::Connected{}, Phase::running,
       "ack accepted"},
      {"offering", offering, event::Connected{}, Phase::offering, "result"},
      {"uploading", uploading, event::Connected{}, Phase::uploading, "result"},
      {"failed", failed, event::Connected{}, Phase::offering, "result"},
  });
}

TEST_CASE("task: after a restart it goes on where it was") {
  check_rows({
      {"fetching waits for the link", fetching, event::Restarted{}, Phase::fetching, ""},
      {"assembling begins with what was fetched", assembling, event::Restarted{}, Phase::fetching, "fetch"},
      {"ready with its base", ready, event::Restarted{}, Phase::ready, ""},
      {"ready without its base", ready, event::Restarted{false}, Phase::fetching, "fetch"},
      {"running starts again", running, event::Restarted{}, Phase::ready, ""},
      {"running without its base", running, event::Restarted{false}, Phase::fetching, "fetch"},
      {"encoding starts again", encoding, event::Restarted{}, Phase::ready, ""},
      {"offering keeps the update", offering, event::Restarted{}, Phase::offering, ""},
      {"uploading asks for grants again", uploading, event::Restarted{}, Phase::offering, ""},
  });
  TaskState state = after(running);
  for (int i = 0; i < max_interruptions; ++i) {
    state = on_event(on_event(state, event::Restarted{}).next, event::Chosen{}).next;
  }
  CHECK(state.phase == Phase::offering);
  CHECK_FALSE(state.result->ok);
  CHECK(state.result->reason.starts_with("interrupted 10 times"));
}

TEST_CASE("training: a checkpoint is progress, so what went wrong before counts no more") {
  TaskState state = after(running);
  const Event crash = event::TrainFailed{{ErrorKind::transient, "killed"}};
  for (int i = 0; i < 3 * max_interruptions; ++i) {
    state = on_event(state, i % 2 == 0 ? crash : Event(event::Restarted{})).next;
    state = on_event(on_event(state, event::Chosen{}).next, event::Checkpointed{}).next;
    REQUIRE(state.phase == Phase::running);
  }
  const TaskState offered = after(offering);
  CHECK(on_event(offered, event::Checkpointed{}).next == offered);
}

constexpr std::uint64_t any_outbox = UINT64_MAX;

TEST_CASE("admission: a newer task of the same run replaces the older one, an older one is declined") {
  const TaskState second = after({arrived(make_task(wire::TaskKind::train, "t2", 2))});
  TaskState other_run = second;
  other_run.task.ref.run = *RunId::parse("run-2");
  other_run.task.ref.task = *TaskId::parse("o1");
  const std::vector<const TaskState*> open = {&second, &other_run};

  const Admission newer = admit(open, make_task(wire::TaskKind::train, "t3", 3), any_outbox);
  CHECK(newer.refusal == "");
  CHECK(newer.superseded == std::vector{*TaskId::parse("t2")});
  const Admission older = admit(open, make_task(wire::TaskKind::train, "t1", 1), any_outbox);
  CHECK(older.refusal == "round 2 of run run-1 is at work here already");
  CHECK(older.superseded.empty());
  const Admission same = admit(open, make_task(wire::TaskKind::train, "t2", 2), any_outbox);
  CHECK(same.refusal == "");
  CHECK(same.superseded.empty());
}

TEST_CASE("admission: there is a limit to tasks at work") {
  std::vector<TaskState> states;
  for (std::size_t i = 0; i < max_open_tasks; ++i) {
    states.push_back(after({arrived(make_task())}));
    states.back().task.ref.task = *TaskId::parse(fmt::format("task-{}", i));
    states.back().task.ref.run = *RunId::parse(fmt::format("r{}", i));
  }
  std::vector<const TaskState*> open;
  for (const TaskState& state : states) {
    open.push_back(&state);
  }
  CHECK(admit(open, make_task(wire::TaskKind::train, "more"), any_outbox).refusal ==
        "64 tasks are at work here already");
  wire::Task replacing = make_task(wire::TaskKind::train, "more", 2);
  replacing.ref.run = *RunId::parse("r5");
  CHECK(admit(open, replacing, any_outbox).refusal == "");
}

TEST_CASE("admission: updates that wait have a limit in bytes, of which those that would be replaced are no part") {
  std::vector<TaskState> states(3, after(offering));
  for (std::size_t i = 0; i < states.size(); ++i) {
    states[i].task.ref.task = *TaskId::parse(fmt::format("task-{}", i));
    states[i].task.ref.run = *RunId::parse(fmt::format("r{}", i));
    states[i].result->update.size = 1000;
  }
  const std::vector<const TaskState*> open = {&states[0], &states[1], &states[2]};
  const auto refusal = [&](const wire::Task& task, std::uint64_t quota) { return admit(open, task, quota).refusal; };
  wire::Task task = make_task(wire::TaskKind::train, "more", 2);
  CHECK(refusal(task, 3001) == "");
  CHECK(refusal(task, 3000) == "updates of 3000 bytes wait for their receipts here already (state.outbox_quota_mb)");
  task.ref.run = *RunId::parse("r1");
  CHECK(refusal(task, 2001) == "");
  CHECK(refusal(task, 2000) != "");
  task.kind = wire::TaskKind::evaluate;
  CHECK(refusal(task, 2000) == "");
  CHECK(refusal(states[0].task, 1) == "");  // known already
}

TEST_CASE("phases: names are read back, anything else is refused") {
  for (const Phase phase : {Phase::absent, Phase::fetching, Phase::assembling, Phase::ready, Phase::running,
                            Phase::encoding, Phase::offering, Phase::uploading, Phase::finished}) {
    CHECK(parse_phase(to_string(phase)).value() == phase);
  }
  CHECK(parse_phase("flying").error().kind == ErrorKind::corrupt);
}
