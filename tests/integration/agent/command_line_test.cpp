#include <algorithm>
#include <csignal>
#include <fstream>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/core/file.hpp"
#include "flops/core/version.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Outcome {
  int code = -1;
  std::string text;  // stdout and stderr
};

Outcome run(const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  boost::asio::io_context loop;
  process::Command command;
  command.program = program("flops-agent");
  command.arguments = arguments;
  command.log_file = folder / "out";
  std::optional<process::Exit> exit;
  auto child = process::Child::spawn(loop.get_executor(), command, [&](process::Exit ended) { exit = ended; });
  REQUIRE(child.has_value());
  REQUIRE(run_until(loop, [&] { return exit.has_value(); }));
  CHECK_FALSE(exit->signalled);
  return {exit->code, read_file(folder / "out").value()};
}

bool says(const Outcome& outcome, std::string_view part) {
  return outcome.text.find(part) != std::string::npos;
}

std::string config_in(const TemporaryFolder& folder, std::string_view content) {
  REQUIRE(replace_file(folder / "agent.toml", content).has_value());
  return (folder / "agent.toml").string();
}

}  // namespace

TEST_CASE("command line: version, help with an example, and what is wrong") {
  CHECK(run({"--version"}).text == fmt::format("{}\n", version));
  const Outcome help = run({"--help"});
  CHECK(help.code == 0);
  CHECK(says(help, "flops-agent enroll --config agent.toml --coordinator"));
  CHECK(run({}).code == 64);
  CHECK(run({"fly"}).code == 64);
  CHECK(run({"enroll"}).code == 64);
}

TEST_CASE("command line: a wrong configuration ends with 78 and says everything") {
  const TemporaryFolder folder;
  const std::string file = config_in(folder, "device = 'A B'\ncolour = 1\n");
  for (const auto& arguments : {std::vector<std::string>{"run", "--config", file},
                                {"status", "--config", file},
                                {"--check-config", "--config", file},
                                {"run", "--config", file + ".missing"}}) {
    CHECK(run(arguments).code == 78);
  }
  const Outcome outcome = run({"run", "--config", file});
  CHECK(says(outcome, "agent.toml:1: 'device'"));
  CHECK(says(outcome, "agent.toml:2: unknown key 'colour'"));
}

TEST_CASE("command line: the configuration can be checked and printed") {
  const TemporaryFolder folder;
  const std::string file = config_in(folder, "device = 'pi-1'\n[trainer]\nnice = 3\n");
  CHECK(run({"--check-config", "--config", file}).code == 0);
  CHECK(run({"run", "--check-config", "--config", file}).code == 0);
  const Outcome printed = run({"--print-config", "--config", file});
  CHECK(printed.code == 0);
  CHECK(says(printed, "nice = 3"));
  CHECK(says(run({"--print-config"}), "warm_for = \"2m\""));
}

TEST_CASE("command line: without an identity it says which command to run") {
  const TemporaryFolder folder;
  const std::string file = config_in(folder, "device = 'pi-1'\n[state]\nfolder = 'state'\n");
  const Outcome outcome = run({"run", "--config", file});
  CHECK(outcome.code == 77);
  CHECK(
      says(outcome, fmt::format("flops-agent enroll --config {} --coordinator https://HOST:PORT --token TOKEN", file)));
  const Outcome status = run({"status", "--config", file});
  CHECK(status.code == 0);
  CHECK(says(status, "enrolled     no"));
}

TEST_CASE("command line: enrolment that cannot work says why") {
  const TemporaryFolder folder;
  const std::string file = config_in(folder, "device = 'pi-1'\n[state]\nfolder = 'state'\n");
  CHECK(run({"enroll", "--config", file, "--coordinator", "https://localhost:1", "--token", "nonsense"}).code == 77);
  const std::string token = "flops1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const Outcome unreachable =
      run({"enroll", "--config", file, "--coordinator", "https://localhost:1", "--token", token});
  CHECK(unreachable.code == 75);
  CHECK(says(unreachable, "fetching the fleet's CA"));
}

TEST_CASE("command line: status shows identity, tasks and models while the agent runs") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(3);
  const EncodedModel model = encode_model(base);
  fleet.publish_blob(model);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  task.base_blob = model.ref;
  task.evaluate = true;
  fleet.command("task", task);
  const auto result = fleet.next<wire::ResultMessage>("result");
  const Outcome status = run({"status", "--config", fleet.config_file().string()});
  CHECK(status.code == 0);
  CHECK(says(status, "enrolled     pi-1 in fleet test"));
  CHECK(says(status, "certificate  valid until"));
  CHECK(says(status, "mnist: 40 training, 10 test samples"));
  CHECK(says(status, fmt::format("t1  offering  run run-1 round 1  update {}", result.update.sha256.short_hex())));
  CHECK(says(status, fmt::format("{}  run run-1", task.base.short_hex())));
  CHECK(says(status, "accuracy 0.2500"));
  CHECK(fleet.agent_runs());
}

TEST_CASE("command line: status lists the control variates that are kept") {
  const Fleet fleet;
  const std::vector<std::byte> bytes(40);
  {
    auto storage = agent::Storage::open(fleet.folder() / "state", agent::Damaged::refuse, 0);
    REQUIRE(storage.has_value());
    const auto source = [&](std::uint64_t offset, std::span<std::byte> into) -> Result<> {
      std::ranges::copy(std::span(bytes).subspan(offset, into.size()), into.begin());
      return {};
    };
    const RunId of = *RunId::parse("run-9");
    for (const char* task : {"t1", "t2"}) {  // the second waits for its receipt
      REQUIRE(storage->put_variate(*TaskId::parse(task), of, bytes.size(), source).has_value());
    }
    REQUIRE(storage->adopt_variate(*TaskId::parse("t1"), of, {}).has_value());
  }
  const Outcome status = run({"status", "--config", fleet.config_file().string()});
  CHECK(status.code == 0);
  CHECK(says(status, "variate      run run-9  40 bytes\n"));
  CHECK(status.text.find("variate") == status.text.rfind("variate"));
}
