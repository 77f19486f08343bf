// Every write of a whole round is once the one at which the power goes, or from which on the disk is full.
#include <optional>

#include "flops/test/disk.hpp"
#include "samples.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::samples;
using store::Durability;

namespace {

const TaskId& id() {
  static const TaskId task = *TaskId::parse("run-1.r3.a");
  return task;
}

RunId run() {
  return *RunId::parse("run-1");
}

// One round on one device as the daemon goes through it: from whatever state is stored to the end.
class Round {
 public:
  // False when an operation failed; `error` says why.
  bool play(Storage& storage) {
    for (int steps = 0; steps < 40; ++steps) {
      const auto step = next(storage);
      if (!step) {
        error = step.error();
        return false;
      }
      if (!*step) {
        return true;
      }
    }
    FAIL("the round does not end");
    return false;
  }

  bool offered = false;   // a transaction that waits for the disk said so
  bool finished = false;  // one that does not
  std::optional<Error> error;

  // Small, so that there are not too many writes to fail at.
  const std::vector<std::byte> blob_bytes = pattern(5'000, 2);
  const std::vector<std::byte> model_bytes = pattern(6'000, 3);
  const std::vector<std::byte> update_bytes = pattern(20'000, 4);
  const std::vector<std::byte> checkpoint_bytes = pattern(7'000, 5);
  const std::vector<std::byte> variate_bytes = pattern(6'000, 6);

 private:
  // True: there is more to do.
  Result<bool> next(Storage& storage) {
    std::size_t damaged = 0;
    auto tasks = storage.tasks(damaged);
    auto over = tasks ? storage.is_finished(id()) : fail(tasks.error());
    if (!over) {
      return fail(over.error());
    }
    CHECK(damaged == 0);
    if (*over) {
      return end(storage);
    }
    if (tasks->empty()) {
      return more(put(storage, Phase::fetching));
    }
    switch (tasks->front().phase) {
      case Phase::fetching: return fetch(storage);
      case Phase::assembling: return assemble(storage);
      case Phase::ready: return train(storage);
      case Phase::offering: return offer(storage);
      case Phase::uploading: return more(receipt(storage));
      default: FAIL("not a phase of this round");
    }
    return false;
  }

  static Result<bool> more(Result<> done) { return done ? Result<bool>(true) : fail(std::move(done.error())); }

  [[nodiscard]] TaskState in(Phase phase) const {
    TaskState state = task(id().str(), phase);
    state.task.base_blob->size = blob_bytes.size();
    if (state.result) {
      state.result->update.size = update_bytes.size();
    }
    return state;
  }

  Result<> put(Storage& storage, Phase phase, const std::function<Result<>()>& with = {},
               Durability durability = Durability::normal) {
    return storage.transaction(
        [&]() -> Result<> {
          auto done = with ? with() : Result<>();
          return done ? storage.put_task(in(phase)) : done;
        },
        durability);
  }

  Result<bool> fetch(Storage& storage) {
    const wire::BlobRef blob = *in(Phase::fetching).task.base_blob;
    auto chunks = storage.chunks(blob);
    if (!chunks) {
      return fail(chunks.error());
    }
    if (chunks->complete()) {
      return more(put(storage, Phase::assembling));
    }
    const std::uint32_t n = chunks->missing().front().first;
    const auto bytes =
        std::span(blob_bytes).subspan(std::size_t{n} * blob::chunk_size, blob::chunk_bytes(blob.size, n));
    return more(storage.transaction([&] { return storage.put_chunk(blob, n, bytes); }, Durability::normal));
  }

  // The model is kept behind the start of the training, and the blob dropped.
  Result<bool> assemble(Storage& storage) {
    std::vector<std::byte> read;
    auto chunks = storage.read_chunks(digest(2), [&](std::uint32_t, std::span<const std::byte> part) -> Result<> {
      read.insert(read.end(), part.begin(), part.end());
      return {};
    });
    if (!chunks) {
      return fail(chunks.error());
    }
    CHECK(read == blob_bytes);
    if (auto begun = put(storage, Phase::ready); !begun) {
      return fail(begun.error());
    }
    return more(storage.transaction(
        [&]() -> Result<> {
          auto kept = storage.put_model(digest(1), *RunId::parse("run-1"), "[]", model_bytes.size(),
                                        source_of(model_bytes), {});
          return kept ? storage.drop_blob(digest(2)) : kept;
        },
        Durability::normal));
  }

  Result<bool> train(Storage& storage) {
    auto held = storage.has_model(digest(1));
    if (held && !*held) {
      return more(put(storage, Phase::fetching));
    }
    if (auto read = held ? check_model(storage) : Result<>(fail(held.error())); !read) {
      return fail(read.error());
    }
    auto saved = storage.transaction(
        [&] { return storage.put_checkpoint(id(), checkpoint_bytes.size(), source_of(checkpoint_bytes)); });
    if (!saved) {
      return fail(saved.error());
    }
    auto ready = put(
        storage, Phase::offering,
        [&]() -> Result<> {
          auto done = storage.drop_checkpoint(id());
          done = done ? storage.put_update(id(), {digest(4), update_bytes.size()}, source_of(update_bytes)) : done;
          return done ? storage.put_variate(id(), run(), variate_bytes.size(), source_of(variate_bytes)) : done;
        },
        Durability::full);
    offered = offered || ready.has_value();
    return more(ready);
  }

  Result<bool> offer(Storage& storage) {
    std::string read;
    for (std::uint32_t n = 0; n < blob::chunk_count(update_bytes.size()); ++n) {
      auto chunk = storage.read_update_chunk(id(), n);
      if (!chunk) {
        return fail(chunk.error());
      }
      REQUIRE(chunk->has_value());
      read += **chunk;
    }
    CHECK(read == std::string(reinterpret_cast<const char*>(update_bytes.data()), update_bytes.size()));
    return more(put(storage, Phase::uploading));
  }

  Result<> receipt(Storage& storage) {
    auto done = put(storage, Phase::finished, [&]() -> Result<> {
      auto adopted = storage.adopt_variate(id(), run(), {});
      auto dropped = adopted ? storage.drop_update(id()) : adopted;
      dropped = dropped ? storage.drop_variate(id()) : dropped;
      dropped = dropped ? storage.drop_checkpoint(id()) : dropped;
      return dropped ? storage.drop_blob(digest(2)) : dropped;  // a restart forgot that it was dropped
    });
    finished = finished || done.has_value();
    return done;
  }

  Result<bool> end(Storage& storage) {
    if (auto done = storage.tidy(); !done) {
      return fail(done.error());
    }
    auto read = check_model(storage);
    read = read ? check_variate(storage) : read;
    return read ? Result<bool>(false) : fail(read.error());
  }

  // What the update that counted came with.
  Result<> check_variate(Storage& storage) {
    std::vector<std::byte> read;
    auto done = storage.read_variate(run(), append_to(read));
    if (done) {
      CHECK(read == variate_bytes);
    }
    return done;
  }

  Result<> check_model(Storage& storage) {
    std::vector<std::byte> read;
    auto done = storage.read_model(digest(1), append_to(read));
    if (done) {
      CHECK(read == model_bytes);
    }
    return done;
  }
};

Result<Storage> open_on(const test::Disk& disk, const std::filesystem::path& folder) {
  StorageOptions options;
  options.vfs = disk.name();
  return Storage::open(folder, Damaged::refuse, now, options);
}

void check_end(Storage& storage) {
  REQUIRE(storage.states().check());
  REQUIRE(storage.contents().check());
  CHECK(storage.is_finished(id()).value());
  CHECK(tasks_of(storage).empty());
  CHECK(storage.contents().integer("SELECT count(*) FROM contents").value() == 2);  // the model, the variate
}

// What an agent does when it starts, and what it must find.
void take_up(Storage& storage, const Round& before) {
  const std::vector<TaskState> tasks = tasks_of(storage);
  if (before.offered) {
    const bool known = !tasks.empty() && (tasks[0].phase == Phase::offering || tasks[0].phase == Phase::uploading);
    CHECK((known || storage.is_finished(id()).value()));
  }
  REQUIRE(storage.keep_only(tasks));
}

}  // namespace

TEST_CASE("storage: whenever in a round the power goes, no state misses its contents and the round can be ended") {
  test::Disk disk("agent-power");
  std::uint64_t cuts = 0;
  for (bool whole = false; !whole; ++cuts) {
    for (const std::uint64_t seed : {std::uint64_t{0}, cuts + 1}) {
      const test::TemporaryFolder folder;
      CAPTURE(cuts);
      CAPTURE(seed);
      Round before;
      {
        disk.power_cut_at(cuts + 1);
        auto storage = open_on(disk, folder.path());
        whole = storage && before.play(*storage);
      }
      disk.power_on(seed);
      {
        auto storage = open_on(disk, folder.path());
        REQUIRE_MESSAGE(storage, storage.error().what);
        take_up(*storage, before);
        Round after;
        REQUIRE_MESSAGE(after.play(*storage), after.error->what);
        check_end(*storage);
      }
      disk.power_on(0);
    }
  }
  MESSAGE("power cuts: ", cuts);
  CHECK(cuts > 100);
}

TEST_CASE("storage: whenever in a round the disk is full, that is said, and with room the round goes on") {
  test::Disk disk("agent-full");
  std::uint64_t tries = 0;
  for (bool whole = false; !whole; ++tries) {
    const test::TemporaryFolder folder;
    CAPTURE(tries);
    {
      auto storage = open_on(disk, folder.path());
      REQUIRE(storage);
      Round round;
      disk.full_at(tries + 1);
      whole = round.play(*storage);
      if (!whole) {
        CHECK_MESSAGE(round.error->kind == ErrorKind::resource, round.error->what);
        disk.heal();
        REQUIRE_MESSAGE(round.play(*storage), round.error->what);
      }
      check_end(*storage);
    }
    disk.power_on(0);
  }
  MESSAGE("full disks: ", tries);
  CHECK(tries > 100);
}
