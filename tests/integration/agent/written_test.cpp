// A device's storage wears out by what is written to it: counted, not timed.
#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/agent_storage/storage.hpp"

using namespace flops;
using namespace flops::test;

namespace {

constexpr std::int64_t model_bytes = fake_parameters * sizeof(float);

// One round whose base comes as a delta to the one before, to the receipt. Returns the device's state after it.
wire::DeviceState play_round(Fleet& fleet, std::int64_t round, const std::vector<float>& base,
                             const std::vector<float>* previous, std::int64_t written_before) {
  const EncodedModel model = encode_model(base, previous);
  fleet.publish_blob(model);
  wire::Task task = fleet.task(fmt::format("t{}", round), round);
  task.base = model_digest_of(base);
  task.base_blob = model.ref;
  if (previous != nullptr) {
    task.base_blob_base = model_digest_of(*previous);
  }
  task.evaluate = true;
  fleet.command("task", task);
  const auto result = fleet.next<wire::ResultMessage>("result");
  REQUIRE_MESSAGE(result.ok, result.reason);
  fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{0, 1000}}});
  (void)fleet.receive_update(result.update);
  fleet.command("receipt", wire::Receipt{result.ref, result.update.sha256, wire::ReceiptStatus::accepted, {}});
  wire::DeviceState after;
  fleet.wait_for_state(
      [&](const wire::DeviceState& state) {
        after = state;
        return state.activity == "idle" && state.written_bytes >= written_before + model_bytes;
      },
      "idle after the round");
  return after;
}

// The agent removes what it has dropped in a quiet moment; that is written too.
void wait_until_tidy(Fleet& fleet, std::int64_t models) {
  fleet.wait(
      [&] {
        auto storage = agent::Storage::open(fleet.folder() / "state", agent::Damaged::refuse, 0);
        return storage && storage->contents().integer("SELECT count(*) FROM contents") == models;
      },
      "the agent has tidied up");
}

}  // namespace

TEST_CASE("agent: a round writes at most three times the model's size to the disk, and says so") {
  constexpr int rounds = 4;
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  std::vector<float> base = fake_initial(3);
  const wire::DeviceState first = play_round(fleet, 1, base, nullptr, 0);
  CHECK(first.written_bytes >= first.written_last_task);
  wire::DeviceState last = first;
  for (int round = 2; round < 2 + rounds; ++round) {
    const std::vector<float> previous = base;
    base = fake_trained(base, static_cast<std::uint64_t>(round));
    last = play_round(fleet, round, base, &previous, last.written_bytes);
    wait_until_tidy(fleet, agent::Storage::models_per_run);
  }
  const double times =
      static_cast<double>(last.written_bytes - first.written_bytes) / static_cast<double>(rounds * model_bytes);
  MESSAGE("written per round: ", times, " times the model");
  CHECK(times <= 3.0);
  CHECK(last.written_last_task <= 3 * model_bytes);
  CHECK(last.written_last_task >= model_bytes);  // a model and an update
}
