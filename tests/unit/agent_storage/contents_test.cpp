#include "samples.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::samples;

namespace {

std::span<const std::byte> chunk_of(const std::vector<std::byte>& bytes, std::uint32_t n) {
  return std::span(bytes).subspan(std::size_t{n} * blob::chunk_size, blob::chunk_bytes(bytes.size(), n));
}

void put_model(Storage& storage, std::uint8_t fill, const char* run, const std::vector<Digest>& keep = {}) {
  const auto bytes = pattern(100, fill);
  auto put = storage.transaction(
      [&] { return storage.put_model(digest(fill), *RunId::parse(run), "[]", bytes.size(), source_of(bytes), keep); });
  REQUIRE(put.has_value());
}

std::vector<Digest> held(Storage& storage) {
  std::vector<Digest> digests;
  const auto models = storage.models();
  REQUIRE(models.has_value());
  for (const StoredModel& model : *models) {
    digests.push_back(model.digest);
  }
  return digests;
}

std::int64_t contents(Storage& storage) {
  return storage.contents().integer("SELECT count(*) FROM contents").value().value_or(-1);
}

}  // namespace

TEST_CASE("storage: chunks arrive in any order, twice, over a restart, and are read in order") {
  const test::TemporaryFolder folder;
  const auto bytes = pattern(2 * blob::chunk_size + 10);
  const wire::BlobRef blob{digest(7), bytes.size()};
  {
    Storage storage = open(folder.path());
    REQUIRE(storage.put_chunk(blob, 2, chunk_of(bytes, 2)).has_value());
    REQUIRE(storage.put_chunk(blob, 0, chunk_of(bytes, 0)).has_value());
    REQUIRE(storage.put_chunk(blob, 0, chunk_of(bytes, 0)).has_value());
  }
  Storage storage = open(folder.path());
  auto chunks = storage.chunks(blob);
  REQUIRE(chunks.has_value());
  CHECK(chunks->missing() == blob::ChunkRanges{{1, 1}});
  REQUIRE(storage.put_chunk(blob, 1, chunk_of(bytes, 1)).has_value());
  CHECK(storage.chunks(blob)->complete());
  std::vector<std::byte> read;
  std::vector<std::uint32_t> order;
  const auto take = [&](std::uint32_t n, std::span<const std::byte> chunk) -> Result<> {
    order.push_back(n);
    read.insert(read.end(), chunk.begin(), chunk.end());
    return {};
  };
  REQUIRE(storage.read_chunks(blob.sha256, take).has_value());
  CHECK(order == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(read == bytes);
  REQUIRE(storage.drop_blob(blob.sha256).has_value());
  CHECK(storage.chunks(blob)->present() == 0);
  REQUIRE(storage.read_chunks(blob.sha256, take).has_value());
  CHECK(order.size() == 3);
}

TEST_CASE("storage: a chunk of the wrong length or number is refused") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const wire::BlobRef blob{digest(7), 2 * blob::chunk_size + 10};
  const auto bytes = pattern(blob::chunk_size);
  for (const auto& [n, size] : {std::pair{0U, 1U}, {2U, 11U}, {3U, 10U}, {0U, 0U}, {4000000000U, 10U}}) {
    CHECK(storage.put_chunk(blob, n, std::span(bytes).first(size)).error().kind == ErrorKind::permanent);
  }
  REQUIRE(storage.put_chunk(blob, 2, std::span(bytes).first(10)).has_value());
  CHECK(storage.chunks({blob.sha256, 99}).error().kind == ErrorKind::corrupt);
}

TEST_CASE("storage: what no open task needs is dropped, models stay") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const auto bytes = pattern(10);
  for (const std::uint8_t fill : std::initializer_list<std::uint8_t>{1, 2, 3}) {
    REQUIRE(storage.put_chunk({digest(fill), 10}, 0, bytes).has_value());
  }
  for (const char* id : {"t1", "t2"}) {
    REQUIRE(storage.put_update(*TaskId::parse(id), {digest(4), 10}, source_of(bytes)).has_value());
    REQUIRE(storage.put_checkpoint(*TaskId::parse(id), 10, source_of(bytes)).has_value());
  }
  put_model(storage, 5, "a");
  REQUIRE(storage.keep_only({task("t1")}).has_value());  // fetches blob 2
  const auto check = [](Storage& left) {
    CHECK(left.chunks({digest(1), 10})->present() == 0);
    CHECK(left.chunks({digest(2), 10})->present() == 1);
    CHECK(left.chunks({digest(3), 10})->present() == 0);
    CHECK(left.has_update(*TaskId::parse("t1")).value());
    CHECK_FALSE(left.has_update(*TaskId::parse("t2")).value());
    CHECK(left.checkpoint_bytes(*TaskId::parse("t1")).value().has_value());
    CHECK_FALSE(left.checkpoint_bytes(*TaskId::parse("t2")).value().has_value());
    CHECK(held(left) == std::vector{digest(5)});
  };
  check(storage);
  CHECK(contents(storage) == 8);
  REQUIRE(storage.tidy().has_value());
  CHECK(contents(storage) == 4);
  check(storage);
}

TEST_CASE("storage: what a transaction dropped is there again when it fails") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const TaskId id = *TaskId::parse("t1");
  const auto bytes = pattern(10);
  REQUIRE(storage.put_update(id, {digest(1), 10}, source_of(bytes)).has_value());
  const auto failed = storage.transaction([&]() -> Result<> {
    auto dropped = storage.drop_update(id);
    CHECK_FALSE(storage.has_update(id).value());
    return dropped ? Result<>(fail(ErrorKind::transient, "no")) : dropped;
  });
  CHECK_FALSE(failed.has_value());
  CHECK_FALSE(storage.untidy());
  CHECK(storage.has_update(id).value());
}

TEST_CASE("storage: contents that were dropped and made anew are not taken away by tidying") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const TaskId id = *TaskId::parse("t1");
  const auto first = pattern(10, 1);
  const auto second = pattern(10, 2);
  REQUIRE(storage.put_update(id, {digest(1), 10}, source_of(first)).has_value());
  REQUIRE(storage.drop_update(id).has_value());
  REQUIRE(storage.put_update(id, {digest(2), 10}, source_of(second)).has_value());
  REQUIRE(storage.tidy().has_value());
  const auto chunk = storage.read_update_chunk(id, 0).value();
  REQUIRE(chunk.has_value());
  CHECK(*chunk == std::string(reinterpret_cast<const char*>(second.data()), 10));
  CHECK(contents(storage) == 1);
}

TEST_CASE("storage: a model is written once and read back in parts") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const auto bytes = pattern(3 * blob::chunk_size + 4);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(storage.put_model(digest(1), *RunId::parse("r"), "[]", bytes.size(), source_of(bytes), {}).has_value());
  }
  std::vector<std::byte> read;
  REQUIRE(storage.read_model(digest(1), append_to(read)).has_value());
  CHECK(read == bytes);
  CHECK(storage.has_model(digest(1)).value());
  CHECK_FALSE(storage.has_model(digest(2)).value());
}

TEST_CASE("storage: the newest two models of a run are kept, and those that are in use") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  put_model(storage, 1, "a");
  put_model(storage, 2, "a");
  put_model(storage, 3, "b");
  put_model(storage, 4, "a", {digest(1)});
  CHECK(held(storage) == std::vector{digest(4), digest(3), digest(2), digest(1)});
  put_model(storage, 5, "a");
  CHECK(held(storage) == std::vector{digest(5), digest(4), digest(3)});
  std::vector<std::byte> read;
  CHECK(storage.read_model(digest(1), append_to(read)).error().kind == ErrorKind::permanent);
}

TEST_CASE("storage: there is a limit over all runs") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  for (std::uint8_t i = 0; i < Storage::max_models + 3; ++i) {
    put_model(storage, static_cast<std::uint8_t>(i + 1), fmt::format("run-{}", i).c_str());
  }
  CHECK(held(storage).size() == Storage::max_models);
  CHECK(held(storage).front() == digest(Storage::max_models + 3));
}

TEST_CASE("storage: models beyond the quota go, the least recently read first") {
  const test::TemporaryFolder folder;
  StorageOptions options;
  options.model_quota = 3 * 40;
  auto opened = Storage::open(folder.path(), Damaged::set_aside, now, options);
  REQUIRE(opened.has_value());
  Storage& storage = *opened;
  const auto bytes = pattern(40);
  const auto put = [&](std::uint8_t fill) {
    const RunId run = *RunId::parse(fmt::format("run-{}", fill));
    REQUIRE(storage.put_model(digest(fill), run, "[]", bytes.size(), source_of(bytes), {}).has_value());
  };
  put(1);
  put(2);
  put(3);
  std::vector<std::byte> read;
  REQUIRE(storage.read_model(digest(1), append_to(read)).has_value());
  put(4);
  CHECK(held(storage) == std::vector{digest(4), digest(3), digest(1)});
  CHECK(storage.untidy());
}

TEST_CASE("storage: an update is read chunk by chunk, replaced and dropped") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  const TaskId id = *TaskId::parse("t1");
  const auto first = pattern(10);
  const auto second = pattern(blob::chunk_size + 1, 9);
  REQUIRE(storage.put_update(id, {digest(1), first.size()}, source_of(first)).has_value());
  REQUIRE(storage.put_update(id, {digest(2), second.size()}, source_of(second)).has_value());
  const auto chunk = storage.read_update_chunk(id, 1).value();
  REQUIRE(chunk.has_value());
  CHECK(*chunk == std::string(1, static_cast<char>(second.back())));
  CHECK(storage.read_update_chunk(id, 0).value()->size() == blob::chunk_size);
  CHECK(storage.read_update_chunk(id, 2).value() == std::nullopt);
  REQUIRE(storage.drop_update(id).has_value());
  CHECK(storage.read_update_chunk(id, 0).value() == std::nullopt);
}

TEST_CASE("storage: a checkpoint replaces the older one, survives a restart and is read as it was written") {
  const test::TemporaryFolder folder;
  const TaskId id = *TaskId::parse("run-1.r3.a");
  const auto older = pattern(blob::chunk_size + 5, 1);
  const auto newer = pattern(2 * blob::chunk_size + 9, 2);
  {
    Storage storage = open(folder.path());
    CHECK_FALSE(storage.checkpoint_bytes(id).value().has_value());
    for (const auto* bytes : {&older, &newer}) {
      REQUIRE(storage.transaction([&] { return storage.put_checkpoint(id, bytes->size(), source_of(*bytes)); }));
    }
  }
  Storage storage = open(folder.path());
  CHECK(storage.checkpoint_bytes(id).value() == newer.size());
  std::vector<std::byte> read;
  const auto take = [&](std::span<const std::byte> part) -> Result<> {
    read.insert(read.end(), part.begin(), part.end());
    return {};
  };
  REQUIRE(storage.read_checkpoint(id, take).has_value());
  CHECK(read == newer);

  REQUIRE(storage.contents().run("UPDATE parts SET data = zeroblob(9) WHERE n = 2").has_value());
  const auto damaged = storage.read_checkpoint(id, take);
  REQUIRE_FALSE(damaged.has_value());
  CHECK(damaged.error().kind == ErrorKind::corrupt);

  REQUIRE(storage.drop_checkpoint(id).has_value());
  CHECK_FALSE(storage.checkpoint_bytes(id).value().has_value());
  CHECK_FALSE(storage.read_checkpoint(id, take).has_value());
  REQUIRE(storage.tidy().has_value());
  CHECK(storage.contents().integer("SELECT count(*) FROM parts").value() == 0);
}
