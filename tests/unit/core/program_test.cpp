#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "flops/core/program.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;

TEST_CASE("program: the folder of the running program holds it") {
  const auto folder = own_folder();
  REQUIRE(folder.has_value());
  CHECK(std::filesystem::exists(*folder / "test_core"));
}

TEST_CASE("program: another one is found beside the own, else in libexec of the same installation") {
  const test::TemporaryFolder folder;
  const std::filesystem::path bin = folder.path() / "bin";
  const std::filesystem::path libexec = folder.path() / "libexec" / "flops-edge";
  std::filesystem::create_directories(bin);
  std::filesystem::create_directories(libexec);
  CHECK_FALSE(companion_program(bin, "flops-trainer").has_value());
  std::ofstream(libexec / "flops-trainer") << "x";
  CHECK(companion_program(bin, "flops-trainer") == libexec / "flops-trainer");
  std::ofstream(bin / "flops-trainer") << "x";
  CHECK(companion_program(bin, "flops-trainer") == bin / "flops-trainer");
  std::filesystem::create_directory(bin / "flops-site");
  CHECK_FALSE(companion_program(bin, "flops-site").has_value());
}
