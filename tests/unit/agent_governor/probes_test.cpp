#include <doctest/doctest.h>

#include <unistd.h>
#include <memory>
#include <vector>

#include "flops/agent_governor/probes.hpp"
#include "flops/agent_governor/sensors.hpp"
#include "flops/core/file.hpp"
#include "flops/test/fake_probes.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::agent;

namespace {

void write(const std::filesystem::path& file, std::string_view content) {
  REQUIRE(make_folder(file.parent_path()).has_value());
  REQUIRE(replace_file(file, content).has_value());
}

// Some machine, and a probe that looks at it.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual void set(const Readings& readings) = 0;
  virtual void set_process(int pid, std::uint64_t ticks) = 0;
  virtual Probes& probes() = 0;
};

class FakeMachine final : public Machine {
 public:
  void set(const Readings& readings) override { probes_.readings = readings; }
  void set_process(int pid, std::uint64_t ticks) override { probes_.processes[pid] = ticks; }
  Probes& probes() override { return probes_; }

 private:
  test::FakeProbes probes_;
};

// Files as Linux has them.
class MachineOfFiles final : public Machine {
 public:
  void set(const Readings& now) override {
    if (now.cpu) {
      write(root_ / "proc/stat",
            fmt::format("cpu  {} 0 0 {} 0 0 0 0 0 0\nintr 7\n", now.cpu->busy, now.cpu->total - now.cpu->busy));
    }
    if (now.memory_pressure) {
      write(root_ / "proc/pressure/memory",
            fmt::format("some avg10={:.2f} avg60=0.00 avg300=0.00 total=1\n", *now.memory_pressure));
    }
    if (now.interface) {
      write(root_ / "proc/net/route",
            fmt::format("Iface\tDestination\n{}\t00000000\t0\t0003\t0\t0\t0\t00000000\n", *now.interface));
    }
    if (now.temperature) {
      write(root_ / "sys/class/thermal/thermal_zone0/temp", fmt::format("{}\n", *now.temperature * 1000));
    }
    if (now.battery_percent) {
      write(root_ / "sys/class/power_supply/BAT0/type", "Battery\n");
      write(root_ / "sys/class/power_supply/BAT0/capacity", fmt::format("{}\n", *now.battery_percent));
    }
    if (now.on_mains) {
      write(root_ / "sys/class/power_supply/BAT0/status", *now.on_mains ? "Charging\n" : "Discharging\n");
    }
  }
  void set_process(int pid, std::uint64_t ticks) override {
    write(root_ / fmt::format("proc/{}/stat", pid),
          fmt::format("{} (x) S 1 1 1 0 -1 0 0 0 0 0 {} 0 0 0 20 0 1 0 5\n", pid, ticks));
  }
  Probes& probes() override { return probes_; }

 private:
  test::TemporaryFolder root_;
  SystemProbes probes_{root_.path()};
};

}  // namespace

TEST_CASE("probes: the contract, for the fake and for files as Linux has them") {
  std::unique_ptr<Machine> machine;
  SUBCASE("fake") {
    machine = std::make_unique<FakeMachine>();
  }
  SUBCASE("files") {
    machine = std::make_unique<MachineOfFiles>();
  }
  Probes& probes = machine->probes();
  const std::vector<int> own = {17, 18};
  CHECK(probes.read(own) == Readings());

  Readings readings;
  readings.temperature = 56;
  readings.memory_pressure = 12.5;
  readings.interface = "wwan0";
  machine->set(readings);
  CHECK(probes.read(own) == readings);

  readings.battery_percent = 73;
  readings.on_mains = false;
  readings.cpu = CpuTimes{1000, 700, 0};
  machine->set(readings);
  CHECK(probes.read(own) == readings);
  CHECK(probes.read({}) == readings);

  machine->set_process(17, 40);
  machine->set_process(19, 500);
  readings.cpu->own = 40;
  CHECK(probes.read(own) == readings);
  machine->set_process(18, 2);
  readings.cpu->own = 42;
  CHECK(probes.read(own) == readings);
}

TEST_CASE("probes: this machine knows its processors and this process") {
  SystemProbes probes;
  const std::vector<int> own = {::getpid()};
  const Readings readings = probes.read(own);
  REQUIRE(readings.cpu.has_value());
  CHECK(readings.cpu->total >= readings.cpu->busy);
}

TEST_CASE("probes: files that are folders, huge or garbage are unknown") {
  const test::TemporaryFolder root;
  SystemProbes probes(root.path());
  write(root / "proc/stat", "cpu  1 2 3 4 5 6 7 8\n" + std::string(2U << 20U, 'x'));
  REQUIRE(make_folder(root / "proc/pressure/memory").has_value());
  write(root / "proc/net/route", std::string(2U << 20U, '\n'));
  write(root / "sys/class/thermal/thermal_zone0/temp", std::string(100'000, '9'));
  write(root / "sys/class/power_supply", "a file");
  CHECK(probes.read(std::vector{1, -1}) == Readings());
}

TEST_CASE("sensors: the hottest zone is read, nonsense is not") {
  const test::TemporaryFolder sys;
  CHECK_FALSE(hottest_zone(sys.path()).has_value());
  write(sys / "class/thermal/thermal_zone0/temp", "-5400\n");
  CHECK(hottest_zone(sys.path()) == -5);
  write(sys / "class/thermal/thermal_zone1/temp", "55600\n");
  write(sys / "class/thermal/thermal_zone2/temp", "900000\n");
  write(sys / "class/thermal/thermal_zone3/temp", "hot\n");
  write(sys / "class/thermal/cooling_device0/temp", "99000\n");
  CHECK(hottest_zone(sys.path()) == 56);
}

TEST_CASE("sensors: where the power comes from") {
  struct Supply {
    const char* name;
    std::vector<std::pair<const char*, const char*>> files;
  };
  struct Row {
    const char* name;
    std::vector<Supply> supplies;
    Power power;
  };
  const Supply plugged{"AC", {{"type", "Mains"}, {"online", "1"}}};
  const Supply unplugged{"AC", {{"type", "Mains"}, {"online", "0"}}};
  const Supply usb{"ucsi", {{"type", "USB"}, {"online", "1"}}};
  const auto battery = [](const char* capacity, const char* status) {
    return Supply{"BAT0", {{"type", "Battery"}, {"capacity", capacity}, {"status", status}}};
  };
  const Supply mouse{"hid", {{"type", "Battery"}, {"scope", "Device"}, {"capacity", "4"}, {"status", "Discharging"}}};
  const std::vector<Row> rows = {
      {"nothing", {}, {}},
      {"a machine without a battery", {plugged}, {}},
      {"only a mouse", {mouse}, {}},
      {"a laptop that is plugged in", {plugged, battery("80", "Charging")}, {80, true}},
      {"a laptop that is not", {unplugged, battery("80", "Discharging")}, {80, false}},
      {"one charged over USB", {unplugged, usb, battery("80", "Charging")}, {80, true}},
      {"a laptop with a mouse", {unplugged, mouse, battery("80", "Discharging")}, {80, false}},
      {"a battery alone that gives", {battery("30", "Discharging")}, {30, false}},
      {"a battery alone that is full", {battery("100", "Full")}, {100, true}},
      {"a battery that says nothing", {battery("30", "Unknown")}, {30, {}}},
      {"a battery that lies", {unplugged, battery("130", "Discharging")}, {{}, false}},
      {"a bay without its battery",
       {unplugged, {"BAT0", {{"type", "Battery"}, {"present", "0"}, {"capacity", "0"}}}},
       {}},
      {"two batteries",
       {battery("3", "Unknown"), {"BAT1", {{"type", "Battery"}, {"capacity", "60"}, {"status", "Discharging"}}}},
       {60, false}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const test::TemporaryFolder sys;
    for (const Supply& supply : row.supplies) {
      for (const auto& [file, content] : supply.files) {
        write(sys / "class/power_supply" / supply.name / file, std::string(content) + "\n");
      }
    }
    CHECK(read_power(sys.path()) == row.power);
  }
}
