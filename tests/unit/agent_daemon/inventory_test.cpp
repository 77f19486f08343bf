#include <string>
#include <vector>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "flops/agent_daemon/inventory.hpp"
#include "flops/agent_data/idx.hpp"
#include "flops/core/file.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::agent;

namespace {

std::string idx(std::initializer_list<std::uint32_t> dimensions, std::size_t values, unsigned char type = 8) {
  std::string bytes = {'\0', '\0', static_cast<char>(type), static_cast<char>(dimensions.size())};
  for (const std::uint32_t dimension : dimensions) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      bytes.push_back(static_cast<char>((dimension >> shift) & 0xFFU));
    }
  }
  return bytes + std::string(values, '\x07');
}

void write(const std::filesystem::path& file, std::string_view content) {
  REQUIRE(make_folder(file.parent_path()).has_value());
  REQUIRE(replace_file(file, content).has_value());
}

}  // namespace

TEST_CASE("idx: samples are counted from the header") {
  const test::TemporaryFolder folder;
  write(folder / "images", idx({12, 2, 3}, 72));
  write(folder / "labels", idx({12}, 12));
  CHECK(count_idx_samples(folder / "images", folder / "labels").value() == 12);
}

TEST_CASE("idx: files that are not what they say are refused with the reason") {
  const test::TemporaryFolder folder;
  write(folder / "good", idx({12, 2, 3}, 72));
  write(folder / "labels", idx({12}, 12));
  struct Row {
    const char* name;
    std::string samples;
    std::string labels;
    const char* reason;
  };
  const std::string good = idx({12, 2, 3}, 72);
  const std::string labels = idx({12}, 12);
  const std::vector<Row> rows = {
      {"empty", "", labels, "not an IDX file"},
      {"another format", "\x1f\x8b\x08 gzip, say, and some more", labels, "not an IDX file"},
      {"floats", idx({12, 2, 3}, 72, 0x0D), labels, "not an IDX file of unsigned bytes"},
      {"a header cut short", good.substr(0, 9), labels, "dimensions"},
      {"no dimensions", idx({}, 0), labels, "0 dimensions"},
      {"too many dimensions", idx({12, 1, 1, 6}, 72), labels, "4 dimensions"},
      {"too short", good.substr(0, 80), labels, "announces 72 values"},
      {"too long", good + "x", labels, "announces 72 values"},
      {"dimensions that overflow", idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, 10), labels, "overflow"},
      {"fewer labels", good, idx({11}, 11), "12 samples"},
      {"labels that are images", good, good, "labels have 1 dimension"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    write(folder / "s", row.samples);
    write(folder / "l", row.labels);
    auto count = count_idx_samples(folder / "s", folder / "l");
    REQUIRE_FALSE(count.has_value());
    CHECK(count.error().what.find(row.reason) != std::string::npos);
    CHECK(count.error().what.find(folder.path().string()) != std::string::npos);
  }
  CHECK_FALSE(count_idx_samples(folder / "missing", folder / "labels").has_value());
  CHECK_FALSE(count_idx_samples(folder.path(), folder / "labels").has_value());
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK_FALSE(count_idx_samples(folder / "pipe", folder / "labels").has_value());
}

TEST_CASE("sensors: temperature and battery, and what says that there is none") {
  const test::TemporaryFolder sys;
  CHECK(read_sensors(sys.path()).temperature == 0);
  CHECK(read_sensors(sys.path()).battery_percent == -1);
  write(sys / "class/thermal/thermal_zone0/temp", "55600\n");
  write(sys / "class/power_supply/BAT0/type", "Battery\n");
  write(sys / "class/power_supply/BAT0/capacity", "73\n");
  const Sensors sensors = read_sensors(sys.path());
  CHECK(sensors.temperature == 56);
  CHECK(sensors.battery_percent == 73);
  CHECK(sensors.load >= 0);
}

TEST_CASE("machine: what it is, by the device tree or by its maker, and what it can compute with") {
  const test::TemporaryFolder root;
  CHECK(machine(root.path()).model.empty());
  CHECK(machine(root.path()).accelerator.empty());
  write(root / "sys/class/dmi/id/sys_vendor", "ACME\n");
  write(root / "sys/class/dmi/id/product_name", "Box 3 \n");
  CHECK(machine(root.path()).model == "ACME Box 3");
  write(root / "proc/device-tree/model", std::string("Raspberry Pi 4 Model B Rev 1.4\0", 31));
  write(root / "etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  write(root / "dev/nvhost-gpu", "");
  const Machine found = machine(root.path());
  CHECK(found.model == "Raspberry Pi 4 Model B Rev 1.4");
  CHECK(found.system == "Debian GNU/Linux 12 (bookworm)");
  CHECK(found.accelerator == "NVIDIA Tegra");
  write(root / "proc/device-tree/model", "a\x1b[31mb" + std::string(500, 'x'));
  CHECK(machine(root.path()).model.substr(0, 7) == "a?[31mb");
  CHECK(machine(root.path()).model.size() == 128);
}

TEST_CASE("sensors: a Raspberry Pi says when its power supply is too weak") {
  const test::TemporaryFolder sys;
  CHECK_FALSE(read_sensors(sys.path()).undervoltage);
  write(sys / "class/hwmon/hwmon1/name", "rpi_volt\n");
  write(sys / "class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
  CHECK(read_sensors(sys.path()).undervoltage);
  const auto firmware = sys / "devices/platform/soc/soc:firmware/get_throttled";
  write(firmware, "50000\n");  // it was so, and is not now
  CHECK_FALSE(read_sensors(sys.path()).undervoltage);
  write(firmware, "50005\n");
  CHECK(read_sensors(sys.path()).undervoltage);
  write(firmware, "0x50000\n");
  CHECK_FALSE(read_sensors(sys.path()).undervoltage);
}

TEST_CASE("machine: what every Linux knows is there") {
  const Machine found = machine();
  CHECK_FALSE(found.architecture.empty());
  CHECK(found.cores >= 1);
  CHECK(found.memory_bytes > (64U << 20U));
}
