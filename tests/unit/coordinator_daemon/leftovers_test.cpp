#include "leftovers.hpp"

#include <fstream>

#include <doctest/doctest.h>

#include "flops/crypto/digest.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::coordinator;

namespace {

namespace fs = std::filesystem;

Digest put(Downloads& downloads, const std::string& content) {
  const auto digest = downloads.blobs.put(
      [&](const blob::FileStore::Writer& write) { return write(std::as_bytes(std::span(content))); });
  REQUIRE(digest.has_value());
  return *digest;
}

}  // namespace

TEST_CASE("leftovers: what lies in the store when it is opened is left over until it is forgotten") {
  const test::TemporaryFolder folder;
  Digest one;
  Digest two;
  {
    auto downloads = open_downloads(folder / "downloads").value();
    CHECK(downloads.leftovers.all().empty());
    one = put(downloads, "first");
    two = put(downloads, "the second");
  }
  const std::map<Digest, std::uint64_t> both{{one, 5}, {two, 10}};
  for (int start = 0; start < 2; ++start) {  // a restart in between forgets nothing
    const auto downloads = open_downloads(folder / "downloads").value();
    CHECK(downloads.blobs.list().empty());
    CHECK(downloads.leftovers.all() == both);
  }
  {
    auto downloads = open_downloads(folder / "downloads").value();
    downloads.leftovers.forget(one);
    CHECK(put(downloads, "the second") == two);  // made anew, and the record of it stands
  }
  const auto downloads = open_downloads(folder / "downloads").value();
  CHECK(downloads.leftovers.all() == std::map<Digest, std::uint64_t>{{two, 10}});
}

TEST_CASE("leftovers: a record takes no room, and the blob is out of its store") {
  const test::TemporaryFolder folder;
  auto downloads = open_downloads(folder / "downloads").value();
  const Digest blob = put(downloads, "some bytes");
  REQUIRE(downloads.leftovers.keep(blob, 10, downloads.blobs.path_of(blob)).has_value());
  CHECK_FALSE(downloads.blobs.has(blob));
  const auto record = folder / "downloads" / "leftovers" / (blob.hex() + ".10");
  REQUIRE(fs::exists(record));
  CHECK(fs::file_size(record) == 0);
  downloads.leftovers.forget(blob);
  CHECK_FALSE(fs::exists(record));
  CHECK(downloads.leftovers.all().empty());
}

TEST_CASE("leftovers: a blob without a file is remembered for as long as the process lives") {
  const test::TemporaryFolder folder;
  auto downloads = open_downloads(folder / "downloads").value();
  const Digest blob = crypto::sha256("gone");
  CHECK_FALSE(downloads.leftovers.keep(blob, 4, downloads.blobs.path_of(blob)).has_value());
  CHECK(downloads.leftovers.all().contains(blob));
}

TEST_CASE("leftovers: other files in the folder are passed over") {
  const test::TemporaryFolder folder;
  const std::string hex(64, 'a');
  fs::create_directories(folder / "downloads" / "leftovers");
  for (const std::string& name : {std::string("notes"), hex, hex + ".", hex + ".0", hex + ".7x", hex + ".-7",
                                  hex + ".99999999999999999999", std::string("xyz.7")}) {
    std::ofstream(folder / "downloads" / "leftovers" / name) << "";
  }
  CHECK(open_downloads(folder / "downloads").value().leftovers.all().empty());
}
