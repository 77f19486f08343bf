// flops-trainer as people meet it.
#include <sys/socket.h>

#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "jobs.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Ended {
  int status = -1;
  std::string output;
};

Ended run_program(const std::vector<std::string>& arguments, int socket = -1) {
  const TemporaryFolder folder;
  boost::asio::io_context loop;
  process::Command command;
  command.program = programs() / "flops-trainer";
  command.arguments = arguments;
  command.log_file = folder / "output";
  if (socket >= 0) {
    command.descriptors = {{socket, 3}};
  }
  std::optional<process::Exit> exit;
  const auto child = process::Child::spawn(loop.get_executor(), command, [&](process::Exit how) { exit = how; });
  REQUIRE(child);
  REQUIRE(run_until(loop, [&] { return exit.has_value(); }));
  CHECK_FALSE(exit->signalled);
  const auto output = read_file(folder / "output");
  REQUIRE(output);
  return {exit->code, *output};
}

}  // namespace

TEST_CASE("program: models lists the zoo with the numbers of parameters") {
  const Ended ended = run_program({"models"});
  CHECK(ended.status == 0);
  for (const char* wanted : {"softmax             7850", "2nn               199210", "cnn-small         206922",
                             "cnn-mcmahan      1663370", "cnn-norm           20634"}) {
    CHECK_MESSAGE(ended.output.find(wanted) != std::string::npos, ended.output);
  }
}

TEST_CASE("program: help and version succeed, wrong usage exits 2 and says what is wrong") {
  CHECK(run_program({"--help"}).output.find("flops-agent") != std::string::npos);
  CHECK(run_program({"--version"}).output == "flops-trainer 0.1.0\n");
  CHECK(run_program({}).status == 2);
  const Ended wrong = run_program({"--worker-fd", "0"});
  CHECK(wrong.status == 2);
  CHECK(wrong.output.find("--worker-fd") != std::string::npos);
}

TEST_CASE("program: a worker exits 0 when its socket is closed, and 1 when it is no socket") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  ours.reset();
  CHECK(run_program({"--worker-fd", "3", "--threads", "1"}, theirs.get()).status == 0);

  const Ended wrong = run_program({"--worker-fd", "3", "--threads", "1"}, memory(4096).get());
  CHECK(wrong.status == 1);
  CHECK(wrong.output.find("receiving a packet") != std::string::npos);
}

TEST_CASE("program: a worker has its sandbox unless it is told otherwise, and says so then") {
  for (const bool without : {false, true}) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    Fd ours(ends[0]);
    const Fd theirs(ends[1]);
    ours.reset();
    std::vector<std::string> arguments = {"--worker-fd", "3", "--threads", "1"};
    if (without) {
      arguments.emplace_back("--no-sandbox");
    }
    const Ended ended = run_program(arguments, theirs.get());
    CHECK(ended.status == 0);
    CHECK((ended.output.find("--no-sandbox") != std::string::npos) == without);
  }
}

TEST_CASE("program: a worker refuses what is no job and goes on") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  for (const char* text : {"nonsense", "{}", R"({"v":9,"job":"init"})"}) {
    REQUIRE(trainer::send_packet(ours.get(), text));
  }
  REQUIRE(
      trainer::send_packet(ours.get(), trainer::to_json(trainer::Control::cancel)));  // nothing to cancel: no answer
  REQUIRE(::shutdown(ours.get(), SHUT_WR) == 0);
  CHECK(run_program({"--worker-fd", "3", "--threads", "1"}, theirs.get()).status == 0);
  for (const char* reason : {"not JSON", "'v' must be 4", "'v' must be 4"}) {
    const auto packet = trainer::receive_packet(ours.get());
    REQUIRE(packet);
    const auto answer = trainer::parse_answer(packet->text);
    REQUIRE(answer);
    REQUIRE(answer->error);
    CHECK(answer->error->kind == ErrorKind::permanent);
    CHECK_MESSAGE(answer->error->what.find(reason) != std::string::npos, answer->error->what);
  }
}
