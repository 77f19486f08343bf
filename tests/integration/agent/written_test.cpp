// A device's storage wears out by what is written to it: counted, not timed.
#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/agent_storage/storage.hpp"

using namespace flops;
using namespace flops::test;

namespace {

constexpr std::int64_t model_bytes = fake_parameters * sizeof(float);

enum class Download { quick, slow };

// The agent's own view of its long values, read beside it.
void wait_for_contents(Fleet& fleet, const std::string& where, std::int64_t count, const char* what) {
  fleet.wait(
      [&] {
        auto storage = agent::Storage::open(fleet.folder() / "state", agent::Damaged::refuse, 0);
        return storage && storage->contents().integer("SELECT count(*) FROM contents " + where) == count;
      },
      what);
}

// One round whose base comes as a delta to the one before, to the receipt. Returns the device's state after it.
wire::DeviceState play_round(Fleet& fleet, std::int64_t round, const std::vector<float>& base,
                             const std::vector<float>* previous, std::int64_t written_before,
                             Download download = Download::quick) {
  const EncodedModel model = encode_model(base, previous);
  const std::uint32_t chunks = blob::chunk_count(model.ref.size);
  REQUIRE(chunks > 1);
  const std::uint32_t at_once = download == Download::quick ? chunks : chunks - 1;
  fleet.publish_blob(model, 0, at_once);
  wire::Task task = fleet.task(fmt::format("t{}", round), round);
  task.base = model_digest_of(base);
  task.base_blob = model.ref;
  if (previous != nullptr) {
    task.base_blob_base = model_digest_of(*previous);
  }
  task.evaluate = true;
  fleet.command("task", task);
  if (download == Download::slow) {
    wait_for_contents(fleet, "WHERE kind = 'blob'", 1, "the beginning of the download is saved");
    fleet.publish_blob(model, at_once);
  }
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

// How many times the model's size a round writes.
double written_per_round(Download download) {
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
    last = play_round(fleet, round, base, &previous, last.written_bytes, download);
    // What was dropped is removed in a quiet moment; that is written too.
    wait_for_contents(fleet, "", agent::Storage::models_per_run, "the agent has tidied up");
  }
  CHECK(last.written_last_task <= 3 * model_bytes);
  CHECK(last.written_last_task >= model_bytes);  // a model and an update
  return static_cast<double>(last.written_bytes - first.written_bytes) / static_cast<double>(rounds * model_bytes);
}

}  // namespace

TEST_CASE("agent: a round writes at most three times the model's size to the disk, and says so") {
  const double quick = written_per_round(Download::quick);
  const double slow = written_per_round(Download::slow);
  MESSAGE("written per round, times the model: ", quick, "; with downloads that are saved on the way: ", slow);
  CHECK(quick <= 3.0);
  CHECK(slow <= 3.0);
  CHECK(slow > quick);
}
