#include "flops/core/io.hpp"

#include <doctest/doctest.h>

#include <string>

#include <fcntl.h>

#include "flops/core/fd.hpp"
#include "flops/core/file.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;

TEST_CASE("io: what is written in parts is read in parts, and the end of the file is an error") {
  const test::TemporaryFolder folder;
  const Fd fd(::open((folder / "f").c_str(), O_RDWR | O_CREAT, 0600));
  REQUIRE(fd.valid());
  const std::string text = "one two three";
  REQUIRE(write_all(fd.get(), std::as_bytes(std::span(text)).first(4)));
  REQUIRE(write_all(fd.get(), std::as_bytes(std::span(text)).subspan(4, 4)));
  REQUIRE(write_at(fd.get(), 8, std::as_bytes(std::span(text)).subspan(8)));
  CHECK(read_file(folder / "f").value() == text);

  std::string part(5, '\0');
  REQUIRE(read_at(fd.get(), 8, std::as_writable_bytes(std::span(part))));
  CHECK(part == "three");
  const auto beyond = read_at(fd.get(), 9, std::as_writable_bytes(std::span(part)));
  REQUIRE_FALSE(beyond);
  CHECK(beyond.error().kind == ErrorKind::corrupt);
  CHECK(beyond.error().what.find("ends at byte 13") != std::string::npos);
}

TEST_CASE("io: a disk without room is a lack of resources, and a file that cannot be used says why") {
  const Fd full(::open("/dev/full", O_WRONLY));
  REQUIRE(full.valid());
  const std::string text = "x";
  CHECK(write_all(full.get(), std::as_bytes(std::span(text))).error().kind == ErrorKind::resource);
  CHECK(write_at(full.get(), 0, std::as_bytes(std::span(text))).error().kind == ErrorKind::resource);
  std::string part(1, '\0');
  CHECK_FALSE(read_at(full.get(), 0, std::as_writable_bytes(std::span(part))));
  CHECK_FALSE(sync_folder("/no/such/folder"));
}
