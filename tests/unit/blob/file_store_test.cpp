#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/blob/file_store.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::blob {
namespace {

using Bytes = std::vector<std::byte>;

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 167 + i / 1000) & 0xff);
  }
  return bytes;
}

std::span<const std::byte> chunk_of(const Bytes& bytes, std::uint32_t n) {
  return std::span(bytes).subspan(std::size_t{n} * chunk_size, chunk_bytes(bytes.size(), n));
}

FileStore open_store(const test::TemporaryFolder& folder) {
  auto store = FileStore::open(folder / "blobs");
  REQUIRE(store);
  return std::move(*store);
}

std::size_t files_in(const std::filesystem::path& folder) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    files += static_cast<std::size_t>(entry.is_regular_file());
  }
  return files;
}

void check_content(const FileStore& store, const Digest& digest, const Bytes& bytes) {
  CHECK(store.has(digest));
  CHECK(store.size_of(digest).value() == bytes.size());
  Bytes chunk;
  for (std::uint32_t n = 0; n < chunk_count(bytes.size()); ++n) {
    REQUIRE(store.read_chunk(digest, n, chunk));
    CHECK(std::ranges::equal(chunk, chunk_of(bytes, n)));
  }
  const auto past = store.read_chunk(digest, chunk_count(bytes.size()), chunk);
  REQUIRE_FALSE(past);
  CHECK(past.error().kind == ErrorKind::permanent);
}

TEST_CASE("blob: chunks in any order make the whole blob, at every boundary") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  for (const std::size_t size : {std::size_t{1}, std::size_t{chunk_size} - 1, std::size_t{chunk_size},
                                 std::size_t{chunk_size} + 1, std::size_t{chunk_size} * 5 + 77}) {
    CAPTURE(size);
    const Bytes bytes = pattern(size);
    const Digest digest = crypto::sha256(bytes);
    auto staging = store.stage(digest, size);
    REQUIRE(staging);
    for (std::uint32_t n = chunk_count(size); n-- > 0;) {
      REQUIRE(staging->write(n, chunk_of(bytes, n)));
    }
    CHECK(staging->chunks().complete());
    REQUIRE(store.finish(std::move(*staging)));
    check_content(store, digest, bytes);
  }
  CHECK(files_in(folder / "blobs/staging") == 0);
  CHECK(store.list().size() == 5);
}

TEST_CASE("blob: a chunk that is repeated, forged, misplaced or of a wrong length changes nothing") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  const Bytes bytes = pattern(chunk_size + 100);
  const Digest digest = crypto::sha256(bytes);
  auto staging = store.stage(digest, bytes.size());
  REQUIRE(staging);
  REQUIRE(staging->write(0, chunk_of(bytes, 0)));
  struct Case {
    const char* name;
    std::uint32_t n;
    std::size_t length;
  };
  for (const Case& row : {Case{"no such chunk", 2, 100}, Case{"far outside", UINT32_MAX, 100}, Case{"too long", 1, 101},
                          Case{"too short", 1, 99}, Case{"empty", 1, 0}}) {
    CAPTURE(row.name);
    const auto outcome = staging->write(row.n, Bytes(row.length));
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().kind == ErrorKind::permanent);
    CHECK_FALSE(outcome.error().what.empty());
  }
  REQUIRE(staging->write(0, chunk_of(bytes, 0)));
  REQUIRE(staging->write(0, Bytes(chunk_size)));
  CHECK(staging->chunks().present() == 1);
  REQUIRE(staging->write(1, chunk_of(bytes, 1)));
  REQUIRE(store.finish(std::move(*staging)));
  check_content(store, digest, bytes);
}

TEST_CASE("blob: content that does not match its digest is corrupt and leaves nothing") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  Bytes bytes = pattern(1000);
  const Digest digest = crypto::sha256(bytes);
  bytes[500] ^= std::byte{1};
  auto staging = store.stage(digest, bytes.size());
  REQUIRE(staging);
  REQUIRE(staging->write(0, bytes));
  const auto outcome = store.finish(std::move(*staging));
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::corrupt);
  CHECK_FALSE(store.has(digest));
  CHECK(files_in(folder / "blobs") == 0);
}

TEST_CASE("blob: an incomplete blob cannot be finished, not even one of zeros") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  const Bytes zeros(2 * chunk_size);
  const Digest digest = crypto::sha256(zeros);
  auto staging = store.stage(digest, zeros.size());
  REQUIRE(staging);
  REQUIRE(staging->write(1, chunk_of(zeros, 1)));
  const auto outcome = store.finish(std::move(*staging));
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::corrupt);
  CHECK(files_in(folder / "blobs") == 0);
}

TEST_CASE("blob: two senders of the same digest do not disturb each other") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  const Bytes bytes = pattern(1000);
  const Digest digest = crypto::sha256(bytes);
  auto honest = store.stage(digest, bytes.size());
  REQUIRE(honest);
  REQUIRE(honest->write(0, bytes));
  auto hostile = store.stage(digest, bytes.size());
  REQUIRE(hostile);
  REQUIRE(hostile->write(0, Bytes(1000)));
  CHECK_FALSE(store.finish(std::move(*hostile)));
  REQUIRE(store.finish(std::move(*honest)));
  check_content(store, digest, bytes);
}

TEST_CASE("blob: sizes of nothing and beyond the limit are refused before anything is written") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  for (const std::uint64_t size : {std::uint64_t{0}, max_blob_size + 1, UINT64_MAX}) {
    CAPTURE(size);
    const auto staging = store.stage(Digest(), size);
    REQUIRE_FALSE(staging);
    CHECK(staging.error().kind == ErrorKind::resource);
  }
  CHECK(files_in(folder / "blobs") == 0);
}

TEST_CASE("blob: opening empties staging and keeps the finished blobs") {
  const test::TemporaryFolder folder;
  const Bytes bytes = pattern(10);
  Digest kept;
  {
    auto store = open_store(folder);
    auto put = store.put([&](const FileStore::Writer& write) { return write(bytes); });
    REQUIRE(put);
    kept = *put;
    auto staging = store.stage(crypto::sha256("other"), 5);
    REQUIRE(staging);
    CHECK(files_in(folder / "blobs/staging") == 1);
  }
  auto store = open_store(folder);
  CHECK(files_in(folder / "blobs/staging") == 0);
  check_content(store, kept, bytes);
}

TEST_CASE("blob: what is kept until a restart is gone after it") {
  const test::TemporaryFolder folder;
  const Bytes bytes = pattern(10);
  for (int run = 0; run < 2; ++run) {
    auto store = FileStore::open(folder / "blobs", Keep::until_restart);
    REQUIRE(store);
    CHECK(store->list().empty());
    const auto put = store->put([&](const FileStore::Writer& write) { return write(bytes); });
    REQUIRE(put);
    check_content(*store, *put, bytes);
  }
}

TEST_CASE("blob: a check finds bytes that have changed, and a file that is gone or cut") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  const Bytes bytes = pattern(chunk_size + 5);
  const auto put = store.put([&](const FileStore::Writer& write) { return write(bytes); });
  REQUIRE(put);
  CHECK(store.check(*put).has_value());
  {
    std::fstream file(store.path_of(*put), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(chunk_size);
    file.put(static_cast<char>(bytes[chunk_size]) ^ 1);
  }
  CHECK(store.check(*put).error().kind == ErrorKind::corrupt);
  std::filesystem::resize_file(store.path_of(*put), chunk_size);
  CHECK(store.check(*put).error().kind == ErrorKind::corrupt);
  REQUIRE(store.remove(*put));
  CHECK(store.check(*put).error().kind == ErrorKind::permanent);
}

TEST_CASE("blob: discarding removes the staged file") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  auto staging = store.stage(crypto::sha256("x"), 1);
  REQUIRE(staging);
  store.discard(std::move(*staging));
  CHECK(files_in(folder / "blobs") == 0);
}

TEST_CASE("blob: put names a blob by what was written, and keeps nothing of a failed one") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  const Bytes bytes = pattern(chunk_size + 5);
  const auto put = store.put([&](const FileStore::Writer& write) -> Result<> {
    if (auto first = write(std::span(bytes).first(7)); !first) {
      return first;
    }
    return write(std::span(bytes).subspan(7));
  });
  REQUIRE(put);
  CHECK(*put == crypto::sha256(bytes));
  check_content(store, *put, bytes);

  const auto failed = store.put([&](const FileStore::Writer& write) -> Result<> {
    if (auto first = write(bytes); !first) {
      return first;
    }
    return fail(ErrorKind::cancelled, "stopped");
  });
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::cancelled);

  const auto empty = store.put([](const FileStore::Writer&) -> Result<> { return {}; });
  REQUIRE_FALSE(empty);
  CHECK(empty.error().kind == ErrorKind::resource);
  CHECK(files_in(folder / "blobs") == 1);
}

TEST_CASE("blob: removing, listing, and what is not there") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  std::vector<Digest> digests;
  for (const char* text : {"a", "b", "c"}) {
    auto put = store.put([&](const FileStore::Writer& write) { return write(std::as_bytes(std::span(text, 1))); });
    REQUIRE(put);
    digests.push_back(*put);
  }
  std::ranges::sort(digests);
  CHECK(store.list() == digests);
  REQUIRE(store.remove(digests[1]));
  REQUIRE(store.remove(digests[1]));
  CHECK(store.list() == std::vector{digests[0], digests[2]});
  CHECK_FALSE(store.has(digests[1]));
  CHECK_FALSE(store.size_of(digests[1]));
  Bytes chunk;
  CHECK_FALSE(store.read_chunk(digests[1], 0, chunk));
}

TEST_CASE("blob: a stray file among the objects is not listed") {
  const test::TemporaryFolder folder;
  auto store = open_store(folder);
  std::ofstream(folder / "blobs/objects/stray.txt") << "x";
  CHECK(store.list().empty());
}

}  // namespace
}  // namespace flops::blob
