#include "governor_watch.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "flops/test/fake_probes.hpp"
#include "flops/test/wait.hpp"

using namespace flops;
using namespace flops::agent;
using namespace std::chrono_literals;

namespace {

struct Watched {
  boost::asio::io_context loop;
  test::FakeProbes probes;
  std::vector<Verdict> changes;
  std::unique_ptr<GovernorWatch> watch;

  Watched() {
    watch = std::make_unique<GovernorWatch>(
        loop.get_executor(), Conditions(), probes, [this](const Verdict& verdict) { changes.push_back(verdict); }, 1ms);
  }
  void start() {
    watch->start([] { return std::vector<int>{1}; });
  }
  bool wait_for(std::size_t count) {
    return test::run_until(loop, [&] { return changes.size() >= count; });
  }
  bool wait_for_reads(int more) {
    return test::run_until(loop, [this, until = probes.reads + more] { return probes.reads >= until; });
  }
};

}  // namespace

TEST_CASE("governor watch: each change of the verdict is said once, with its reason") {
  Watched watched;
  watched.probes.readings.temperature = 60;
  watched.start();
  CHECK(watched.watch->verdict().run());
  REQUIRE(watched.wait_for_reads(3));
  CHECK(watched.changes.empty());

  watched.probes.readings.temperature = 90;
  REQUIRE(watched.wait_for(1));
  CHECK(watched.changes[0].reason == "temperature 90 C is above 80 C");
  CHECK(watched.watch->verdict() == watched.changes[0]);
  watched.probes.readings.temperature = 85;
  REQUIRE(watched.wait_for_reads(3));
  CHECK(watched.changes.size() == 1);

  watched.probes.readings.temperature = 70;
  REQUIRE(watched.wait_for(2));
  CHECK(watched.changes[1].run());
  CHECK(watched.watch->verdict().run());
}

TEST_CASE("governor watch: the first verdict is there when start returns, and is no change") {
  Watched watched;
  watched.probes.readings.temperature = 90;
  watched.start();
  CHECK_FALSE(watched.watch->verdict().run());
  watched.start();  // no effect
  CHECK(watched.probes.reads == 1);
  REQUIRE(watched.wait_for_reads(3));
  CHECK(watched.changes.empty());
}

TEST_CASE("governor watch: without anything to train nothing is read and no timer runs") {
  Watched watched;
  CHECK(watched.watch->verdict().run());
  CHECK(watched.loop.run() == 0);
  CHECK(watched.probes.reads == 0);

  watched.probes.readings.temperature = 90;
  watched.loop.restart();
  watched.start();
  watched.watch->stop();
  CHECK(watched.watch->verdict().run());
  const int reads = watched.probes.reads;
  watched.loop.run();  // returns: only the cancelled timer is left
  CHECK(watched.probes.reads == reads);

  watched.loop.restart();
  watched.start();
  CHECK_FALSE(watched.watch->verdict().run());
  watched.probes.readings.temperature = 20;
  REQUIRE(watched.wait_for(1));
  CHECK(watched.changes[0].run());
}

TEST_CASE("governor watch: the callback may stop it, and even destroy it") {
  boost::asio::io_context loop;
  test::FakeProbes probes;
  std::unique_ptr<GovernorWatch> watch;
  int calls = 0;
  bool destroy = false;
  SUBCASE("stop") {}
  SUBCASE("destroy") {
    destroy = true;
  }
  watch = std::make_unique<GovernorWatch>(
      loop.get_executor(), Conditions(), probes,
      [&](const Verdict&) {
        ++calls;
        if (destroy) {
          watch.reset();
        } else {
          watch->stop();
        }
      },
      1ms);
  watch->start([] { return std::vector<int>(); });
  probes.readings.temperature = 90;
  loop.run();
  CHECK(calls == 1);
}
