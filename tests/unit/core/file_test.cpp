#include <doctest/doctest.h>

#include <filesystem>

#include <sys/stat.h>

#include "flops/core/file.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;

TEST_CASE("file: replacing is whole, keeps the mode, and leaves nothing beside") {
  const test::TemporaryFolder folder;
  const auto file = folder / "secret";
  REQUIRE(replace_file(file, "one", 0600).has_value());
  REQUIRE(replace_file(file, "two", 0600).has_value());
  CHECK(read_file(file).value() == "two");
  struct stat info{};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0600U);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("file: a missing, a too large and an unwritable one are errors that name the file") {
  const test::TemporaryFolder folder;
  const auto file = folder / "f";
  CHECK(read_file(file).error().what.find(file.string()) != std::string::npos);
  REQUIRE(replace_file(file, std::string(100, 'x')).has_value());
  CHECK(read_file(file, 100).has_value());
  CHECK(read_file(file, 99).error().what.find("larger than 99") != std::string::npos);
  CHECK_FALSE(replace_file(folder / "none" / "f", "x").has_value());
}

TEST_CASE("file: folders are made with their parents") {
  const test::TemporaryFolder folder;
  REQUIRE(make_folder(folder / "a" / "b", 0700).has_value());
  CHECK(std::filesystem::is_directory(folder / "a" / "b"));
  CHECK(make_folder(folder / "a" / "b").has_value());
  REQUIRE(replace_file(folder / "f", "x").has_value());
  CHECK_FALSE(make_folder(folder / "f" / "b").has_value());
}

TEST_CASE("file: the space of a disk is known, and of no folder it is an error") {
  const test::TemporaryFolder folder;
  const auto space = disk_space(folder.path());
  REQUIRE(space.has_value());
  CHECK(space->free > 0);
  CHECK_FALSE(space->read_only);
  CHECK_FALSE(disk_space(folder / "missing").has_value());
  const auto proc = disk_space("/proc");
  REQUIRE(proc.has_value());
  CHECK(proc->free == 0);
}
