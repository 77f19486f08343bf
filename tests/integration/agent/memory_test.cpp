// The agent's memory budget: what a device pays while nothing is to do. Sanitizers have memory of their own, so only
// builds without them measure.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include "memory.hpp"
#include "fake_model.hpp"
#include "fleet.hpp"

using namespace flops;
using namespace flops::test;

namespace {

void wait_for_budget(Fleet& fleet, const char* when) {
  Memory memory;
  fleet.wait(
      [&] {
        memory = memory_of(fleet.agent_pid());
        return memory.resident_kib > 0 && memory.resident_kib <= max_resident_kib &&
               memory.private_kib <= max_private_kib;
      },
      when);
  MESSAGE(std::string(when), ": resident ", memory.resident_kib, " KiB, private ", memory.private_kib, " KiB");
}

}  // namespace

TEST_CASE("agent: idle, it stays within its memory budget before and after a round") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  wait_for_budget(fleet, "idle after the start");
  const std::vector<float> base = fake_initial(3);
  const EncodedModel model = encode_model(base);
  fleet.publish_blob(model);
  for (std::int64_t round = 1; round <= 3; ++round) {
    wire::Task task = fleet.task(fmt::format("t{}", round), round);
    task.base = model_digest_of(base);
    task.base_blob = model.ref;
    task.evaluate = true;
    fleet.command("task", task);
    const auto result = fleet.next<wire::ResultMessage>("result");
    REQUIRE_MESSAGE(result.ok, result.reason);
    fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{0, 1000}}});
    (void)fleet.receive_update(result.update);
    fleet.command("receipt", wire::Receipt{result.ref, result.update.sha256, wire::ReceiptStatus::accepted, {}});
  }
  fleet.wait_for_state([](const auto& state) { return state.activity == "idle"; }, "idle");
  wait_for_budget(fleet, "idle after three rounds");
}

#endif
