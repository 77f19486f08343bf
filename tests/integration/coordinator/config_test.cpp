// Configurations that are refused before anything starts, with the key that is wrong.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Checked {
  int code = -1;
  std::string said;
};

Checked check_config(const std::string& text) {
  const TemporaryFolder folder;
  REQUIRE(replace_file(folder / "coordinator.toml", text).has_value());
  process::Command command;
  command.program = std::filesystem::path(std::getenv("FLOPS_BIN")) / "flops-coordinator";
  command.arguments = {"--check-config", "--config", (folder / "coordinator.toml").string()};
  command.log_file = folder / "said";
  const auto ended = process::run_to_end(command, std::chrono::seconds(20));
  REQUIRE(ended.has_value());
  return {ended->code, read_file(folder / "said").value()};
}

}  // namespace

TEST_CASE("configuration: what the coordinator cannot work with names the key") {
  constexpr int wrong_configuration = 78;
  struct Row {
    const char* text;
    const char* says;
  };
  const Row rows[] = {
      {"broker.address = \"0.0.0.0\"", "broker.public_host"},
      {"broker.mode = \"external\"", "broker.port, .ca"},
      {"parent.url = \"https://above:8443\"", "parent.device"},
      {"role = \"cluster\"\nparent.device = \"hall\"\nparent.url = \"above\"", "parent.url"},
      {"enrolment.certificate_lifetime = \"1s\"", "enrolment.certificate_lifetime"},
      {"fleeet = \"x\"", "fleeet"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Checked checked = check_config(row.text);
    CHECK(checked.code == wrong_configuration);
    CHECK_MESSAGE(checked.said.find(row.says) != std::string::npos, checked.said);
  }
  CHECK(check_config("broker.address = \"0.0.0.0\"\nbroker.public_host = \"hub\"").code == 0);
}
