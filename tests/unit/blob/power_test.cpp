// What a power cut must not take: a blob that the store has, with the names of all folders above it. The order of what
// is said to the disk is checked, because a test cannot cut the power.
#include <algorithm>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "flops/blob/file_store.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/test/temporary_folder.hpp"
#include "system_calls.hpp"

namespace flops::blob {
namespace {

using testing::SystemCall;
using Kind = SystemCall::Kind;

const std::string content = "a blob";

std::span<const std::byte> bytes() {
  return std::as_bytes(std::span(content));
}

Result<Digest> put(FileStore& store) {
  return store.put([](const FileStore::Writer& write) { return write(bytes()); });
}

Result<> receive(FileStore& store) {
  auto staging = store.stage(crypto::sha256(content), content.size());
  if (!staging) {
    return fail(staging.error());
  }
  const auto written = staging->write(0, bytes());
  return written ? store.finish(*std::move(staging)) : written;
}

// How often the path was synced after the call at `at`.
std::ptrdiff_t syncs_after(std::vector<SystemCall>::const_iterator at, const std::filesystem::path& path) {
  return std::count_if(at, testing::system_calls().end(),
                       [&](const SystemCall& call) { return call.kind == Kind::sync && call.path == path; });
}

// Of the names this program has made.
void check_names_are_durable(const std::filesystem::path& object) {
  const auto& calls = testing::system_calls();
  const auto renamed = std::ranges::find_if(
      calls, [&](const SystemCall& call) { return call.kind == Kind::rename && call.to == object; });
  REQUIRE(renamed != calls.end());
  CHECK(std::any_of(calls.begin(), renamed,
                    [&](const SystemCall& call) { return call.kind == Kind::sync && call.path == renamed->path; }));
  CHECK(syncs_after(renamed, object.parent_path()) > 0);
  std::size_t folders = 0;
  for (auto call = calls.begin(); call != calls.end(); ++call) {
    if (call->kind == Kind::make_folder && !call->path.ends_with("staging")) {
      ++folders;
      CAPTURE(call->path);
      CHECK(syncs_after(call, std::filesystem::path(call->path).parent_path()) > 0);
    }
  }
  CHECK(folders == 3);
}

TEST_CASE("blob: a blob the store has, and every folder above it, is on the disk") {
  for (const bool received : {false, true}) {
    CAPTURE(received);
    const test::TemporaryFolder folder;
    testing::record_system_calls();
    auto store = FileStore::open(folder / "blobs");
    REQUIRE(store);
    REQUIRE((received ? receive(*store).has_value() : put(*store).has_value()));
    check_names_are_durable(store->path_of(crypto::sha256(content)));
  }
}

TEST_CASE("blob: the same bytes once more, whose sync fails, do not take away what is held") {
  for (const bool received : {false, true}) {
    for (int n = 1; n <= 3; ++n) {
      CAPTURE(received);
      CAPTURE(n);
      const test::TemporaryFolder folder;
      auto store = FileStore::open(folder / "blobs");
      REQUIRE(store);
      REQUIRE(put(*store));
      testing::record_system_calls();
      testing::refuse_sync(n);
      CHECK_FALSE((received ? receive(*store).has_value() : put(*store).has_value()));
      CHECK(store->has(crypto::sha256(content)));
    }
  }
}

TEST_CASE("blob: a name that a killed process may have left unsynced is on the disk when the store is open again") {
  const test::TemporaryFolder folder;
  auto killed = FileStore::open(folder / "blobs");
  REQUIRE(killed);
  REQUIRE(put(*killed));
  testing::record_system_calls();
  auto store = FileStore::open(folder / "blobs");
  REQUIRE(store);
  const std::filesystem::path object = store->path_of(crypto::sha256(content));
  for (const auto& synced : {object.parent_path(), object.parent_path().parent_path()}) {
    CHECK(std::ranges::any_of(testing::system_calls(),
                              [&](const SystemCall& call) { return call.kind == Kind::sync && call.path == synced; }));
  }
}

TEST_CASE("blob: what can be made again is never synced") {
  const test::TemporaryFolder folder;
  testing::record_system_calls();
  auto store = FileStore::open(folder / "blobs", Keep::until_restart);
  REQUIRE(store);
  REQUIRE(put(*store));
  CHECK(std::ranges::count(testing::system_calls(), Kind::sync, &SystemCall::kind) == 0);
}

TEST_CASE("blob: whichever sync fails, that is said, and the blob can be stored again") {
  for (const bool received : {false, true}) {
    for (int n = 1; n <= 3; ++n) {
      CAPTURE(received);
      CAPTURE(n);
      const test::TemporaryFolder folder;
      auto store = FileStore::open(folder / "blobs");
      REQUIRE(store);
      testing::record_system_calls();
      testing::refuse_sync(n);
      CHECK_FALSE((received ? receive(*store).has_value() : put(*store).has_value()));
      CHECK(std::filesystem::is_empty(folder / "blobs" / "staging"));
      CHECK_FALSE(store->has(crypto::sha256(content)));  // its bytes or its name are not on the disk
      REQUIRE((received ? receive(*store).has_value() : put(*store).has_value()));
      CHECK(store->has(crypto::sha256(content)));
    }
  }
}

}  // namespace
}  // namespace flops::blob
