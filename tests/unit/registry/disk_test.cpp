// Every write of a round's records is once the one at which the power goes, and once the one at which the disk is full.
#include <doctest/doctest.h>

#include <algorithm>
#include <optional>

#include "flops/test/disk.hpp"
#include "flops/test/temporary_folder.hpp"
#include "round_script.hpp"

using namespace flops;
using namespace flops::registry;
using namespace flops::registry::testing;

namespace {

struct Records {
  explicit Records(test::Disk& on) : disk(on) { options.vfs = disk.name(); }
  ~Records() {
    registry.reset();
    disk.power_on(0);
  }
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;

  [[nodiscard]] Result<> open() {
    auto opened = Registry::open(file, clock, options);
    if (!opened) {
      return fail(opened.error());
    }
    registry = *std::move(opened);
    return {};
  }
  void reopen_after_power_cut(std::uint64_t seed) {
    registry.reset();
    disk.power_on(seed);
    const auto opened = open();
    REQUIRE_MESSAGE(opened, opened.error().what);
  }
  void check_whole() const {
    const std::string damage = damage_of(file);
    REQUIRE_MESSAGE(damage.empty(), damage);
  }

  test::Disk& disk;
  test::TemporaryFolder folder;
  std::filesystem::path file = folder / "coordinator.db";
  FakeClock clock;
  store::OpenOptions options = [] {
    store::OpenOptions given;
    given.checkpoint_pages = 12;  // some in the middle
    return given;
  }();
  std::optional<Registry> registry;
};

struct Reference {
  std::vector<Call> script = round_script();
  std::vector<std::string> contents;  // [n]: after the first n calls
  std::uint64_t writes = 0;

  explicit Reference(test::Disk& disk) {
    Records records(disk);
    REQUIRE(records.open());
    contents.push_back(content_of(records.file));
    for (const Call& call : script) {
      const auto done = call.perform(*records.registry);
      REQUIRE_MESSAGE(done, call.name, ": ", done.error().what);
      contents.push_back(content_of(records.file));
    }
    writes = disk.writes();
  }
};

// Calls from the n-th on, to the first that fails.
struct Progress {
  std::size_t acknowledged = 0;  // calls that returned success
  std::size_t durable = 0;       // of these, up to the last that promises it
  std::optional<Error> error;
};

Progress perform(const Reference& reference, Registry& registry, std::size_t first = 0) {
  Progress progress{first, first, std::nullopt};
  for (std::size_t n = first; n < reference.script.size(); ++n) {
    if (const auto done = reference.script[n].perform(registry); !done) {
      progress.error = done.error();
      return progress;
    }
    progress.acknowledged = n + 1;
    progress.durable = reference.script[n].durable ? n + 1 : progress.durable;
  }
  return progress;
}

void finish(const Reference& reference, Records& records, std::size_t from) {
  const Progress rest = perform(reference, *records.registry, from);
  REQUIRE_MESSAGE(!rest.error, reference.script[rest.acknowledged].name, ": ", rest.error->what);
  CHECK(content_of(records.file) == reference.contents.back());
  records.check_whole();
}

}  // namespace

TEST_CASE("registry: whenever the power goes, what was promised is there, nothing is there by half, and it goes on") {
  test::Disk disk("registry-power");
  const Reference reference(disk);
  CHECK(reference.writes > 100);
  for (std::uint64_t n = 1; n <= reference.writes + 1; ++n) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      CAPTURE(n);
      CAPTURE(seed);
      Records records(disk);
      disk.power_cut_at(n);
      Progress progress;
      if (records.open()) {
        progress = perform(reference, *records.registry);
      }
      records.reopen_after_power_cut(seed);
      records.check_whole();
      const std::string content = content_of(records.file);
      // The last call may have reached the disk without the answer reaching us.
      const std::size_t most = std::min(progress.acknowledged + 1, reference.script.size());
      std::size_t kept = progress.durable;
      while (kept <= most && reference.contents[kept] != content) {
        ++kept;
      }
      REQUIRE_MESSAGE(kept <= most, content);
      finish(reference, records, kept);
    }
  }
}

TEST_CASE("registry: whenever the disk is full, that is said, nothing is there by half, and with room it goes on") {
  test::Disk disk("registry-full");
  const Reference reference(disk);
  for (std::uint64_t n = 1; n <= reference.writes; ++n) {
    CAPTURE(n);
    Records records(disk);
    disk.full_at(n);
    if (const auto opened = records.open(); !opened) {
      CHECK_MESSAGE(opened.error().kind == ErrorKind::resource, opened.error().what);
      disk.heal();
      REQUIRE(records.open());
      finish(reference, records, 0);
      continue;
    }
    const Progress progress = perform(reference, *records.registry);
    if (progress.error) {
      CHECK_MESSAGE(progress.error->kind == ErrorKind::resource, progress.error->what);
      CHECK(content_of(records.file) == reference.contents[progress.acknowledged]);
    }
    disk.heal();
    finish(reference, records, progress.acknowledged);
    // What was promised after the trouble is kept like everything else.
    disk.power_cut_at(1);
    records.reopen_after_power_cut(0);
    CHECK(content_of(records.file) == reference.contents.back());
  }
}
