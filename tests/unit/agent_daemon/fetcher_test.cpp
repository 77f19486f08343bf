// The fetcher with the ports of a test: which chunks it asks for, what it saves, and what it hands over.
#include "fetcher.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include <boost/asio/io_context.hpp>

#include "flops/core/io.hpp"
#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::agent;

namespace {

using Chunks = std::vector<std::uint32_t>;

constexpr std::uint32_t many = 24;  // more than the window, less than what is saved at once

Chunks range(std::uint32_t first, std::uint32_t last) {
  Chunks chunks(last - first + 1);
  std::iota(chunks.begin(), chunks.end(), first);
  return chunks;
}

std::string chunk_of(const wire::BlobRef& blob, std::uint32_t n) {
  return std::string(blob::chunk_bytes(blob.size, n), static_cast<char>('a' + n % 26));
}

wire::BlobRef blob_of(std::string_view name, std::uint32_t chunks) {
  return {crypto::sha256(name), std::uint64_t{blob::chunk_size} * (chunks - 1) + 10};
}

TaskId task(std::string_view name) {
  return TaskId::parse(name).value();
}

struct Scene {
  boost::asio::io_context loop;
  std::vector<Chunks> asked;
  Chunks given_up;
  std::vector<Chunks> saved;
  std::vector<std::pair<TaskId, SharedFd>> complete;
  bool disk_works = true;
  bool saved_is_readable = true;
  Fetcher fetcher{loop.get_executor(), ports()};

  Fetcher::Ports ports() {
    Fetcher::Ports all;
    all.subscribe = [this](const Chunks& chunks, const std::function<void(Result<>)>& done) {
      asked.push_back(chunks);
      done({});
    };
    all.unsubscribe = [this](const Digest&, const Chunks& chunks) {
      given_up.insert(given_up.end(), chunks.begin(), chunks.end());
    };
    all.save = [this](const wire::BlobRef&, const Chunks& chunks, const SharedFd&) -> Result<> {
      if (!disk_works) {
        return fail(ErrorKind::resource, "the disk is full");
      }
      saved.push_back(chunks);
      return {};
    };
    all.load = [this](const wire::BlobRef& blob, const SharedFd& file) -> Result<> {
      if (!saved_is_readable) {
        return fail(ErrorKind::corrupt, "damaged");
      }
      for (const Chunks& part : saved) {
        for (const std::uint32_t n : part) {
          const std::string bytes = chunk_of(blob, n);
          REQUIRE(write_at(file->get(), std::uint64_t{n} * blob::chunk_size, std::as_bytes(std::span(bytes))));
        }
      }
      return {};
    };
    all.progress = [](const TaskId&, std::uint32_t, std::uint32_t) {};
    all.complete = [this](const TaskId& id, const SharedFd& file) { complete.emplace_back(id, file); };
    return all;
  }
  void start(std::string_view id, const wire::BlobRef& blob) {
    fetcher.start(task(id), blob, blob::ChunkSet(blob::chunk_count(blob.size)));
  }
  void arrive(const wire::BlobRef& blob, const Chunks& chunks) {
    for (const std::uint32_t n : chunks) {
      fetcher.on_chunk(blob.sha256, n, chunk_of(blob, n));
    }
  }
  Chunks all_asked() const {
    Chunks chunks;
    for (const Chunks& part : asked) {
      chunks.insert(chunks.end(), part.begin(), part.end());
    }
    std::ranges::sort(chunks);
    return chunks;
  }
  void check_complete(std::size_t which, std::string_view id, const wire::BlobRef& blob) const {
    REQUIRE(complete.size() > which);
    CHECK(complete[which].first == task(id));
    for (std::uint32_t n = 0; n < blob::chunk_count(blob.size); ++n) {
      std::string bytes(blob::chunk_bytes(blob.size, n), '\0');
      REQUIRE(read_at(complete[which].second->get(), std::uint64_t{n} * blob::chunk_size,
                      std::as_writable_bytes(std::span(bytes))));
      CHECK((bytes == chunk_of(blob, n)));
    }
  }
};

}  // namespace

TEST_CASE("fetcher: it asks for a window of chunks, for more as they come, and for each once") {
  Scene scene;
  const wire::BlobRef blob = blob_of("a", many);
  scene.start("t1", blob);
  CHECK(scene.asked.empty());  // no link yet
  scene.fetcher.link_up();
  CHECK(scene.asked == std::vector<Chunks>{range(0, Fetcher::window - 1)});
  scene.arrive(blob, range(0, many - 1));
  CHECK(scene.all_asked() == range(0, many - 1));
  scene.check_complete(0, "t1", blob);
  std::ranges::sort(scene.given_up);
  CHECK(scene.given_up == range(0, many - 1));
  CHECK(scene.saved.empty());  // faster than the disk is asked for
  CHECK(scene.fetcher.current() == nullptr);
}

TEST_CASE("fetcher: what is too much to lose is saved while it comes") {
  Scene scene;
  constexpr std::uint32_t enough = Fetcher::save_bytes / blob::chunk_size;
  const wire::BlobRef blob = blob_of("a", enough + 2);
  scene.start("t1", blob);
  scene.fetcher.link_up();
  scene.arrive(blob, range(0, enough + 1));
  CHECK(scene.saved == std::vector<Chunks>{range(0, enough - 1)});
  scene.check_complete(0, "t1", blob);
}

TEST_CASE("fetcher: after a lost link it keeps what it has, saves it, and asks for the rest") {
  Scene scene;
  const wire::BlobRef blob = blob_of("a", 5);
  scene.start("t1", blob);
  scene.fetcher.link_up();
  scene.arrive(blob, {1, 3});
  SUBCASE("the disk works") {}
  SUBCASE("the disk is full for a while") {
    scene.disk_works = false;
    scene.fetcher.link_down();
    CHECK(scene.saved.empty());
    scene.disk_works = true;
  }
  scene.fetcher.link_down();
  CHECK(scene.saved == std::vector<Chunks>{{1, 3}});
  scene.fetcher.link_down();
  CHECK(scene.saved.size() == 1);  // nothing new
  scene.asked.clear();
  scene.fetcher.link_up();
  CHECK(scene.asked == std::vector<Chunks>{{0, 2, 4}});
  scene.arrive(blob, {4, 0, 2});
  scene.check_complete(0, "t1", blob);
}

TEST_CASE("fetcher: a restart goes on with what was saved, and fetches anew what cannot be read") {
  Scene scene;
  const wire::BlobRef blob = blob_of("a", 4);
  scene.saved = {{0, 1}};
  blob::ChunkSet have(4);
  have.add(0);
  have.add(1);
  scene.fetcher.link_up();
  scene.fetcher.start(task("t1"), blob, have);
  CHECK(scene.asked == std::vector<Chunks>{{2, 3}});
  SUBCASE("it can be read") {
    scene.arrive(blob, {2, 3});
  }
  SUBCASE("it cannot") {
    scene.saved_is_readable = false;
    scene.arrive(blob, {2});
    CHECK(scene.complete.empty());
    scene.arrive(blob, {3});
    CHECK(scene.all_asked() == range(0, 3));
    scene.arrive(blob, {0, 1});
  }
  scene.check_complete(0, "t1", blob);
}

TEST_CASE("fetcher: what was complete on the disk needs no link, and when it is lost it is fetched") {
  Scene scene;
  const wire::BlobRef blob = blob_of("a", 2);
  scene.saved = {{0, 1}};
  blob::ChunkSet have(2);
  have.add(0);
  have.add(1);
  SUBCASE("readable") {
    scene.fetcher.start(task("t1"), blob, have);
  }
  SUBCASE("lost") {
    scene.saved_is_readable = false;
    scene.fetcher.link_up();
    scene.fetcher.start(task("t1"), blob, have);
    CHECK(scene.asked == std::vector<Chunks>{{0, 1}});
    scene.arrive(blob, {0, 1});
  }
  scene.check_complete(0, "t1", blob);
}

TEST_CASE("fetcher: what is no chunk of the blob changes nothing") {
  Scene scene;
  const wire::BlobRef blob = blob_of("a", 2);
  scene.start("t1", blob);
  scene.fetcher.link_up();
  scene.fetcher.on_chunk(blob.sha256, 0, "short");
  scene.fetcher.on_chunk(blob.sha256, 0, "");
  scene.fetcher.on_chunk(blob.sha256, 2, "beyond the end");
  scene.fetcher.on_chunk(crypto::sha256("another"), 7, "left over");
  CHECK(scene.given_up == Chunks{7});
  CHECK(scene.complete.empty());
  scene.arrive(blob, {0, 0, 1});
  scene.check_complete(0, "t1", blob);
}

TEST_CASE("fetcher: blobs are fetched one after the other, and a stopped one makes way") {
  Scene scene;
  scene.fetcher.link_up();
  const wire::BlobRef first = blob_of("a", 2);
  const wire::BlobRef second = blob_of("b", 3);
  scene.start("t1", first);
  scene.start("t2", second);
  CHECK(scene.asked == std::vector<Chunks>{{0, 1}});
  scene.arrive(second, {0});  // not its turn
  SUBCASE("the first completes") {
    scene.arrive(first, {0, 1});
    scene.check_complete(0, "t1", first);
    CHECK(scene.asked.back() == range(0, 2));
    scene.arrive(second, range(0, 2));
    scene.check_complete(1, "t2", second);
  }
  SUBCASE("the first is stopped") {
    scene.fetcher.stop(task("t1"));
    CHECK(scene.asked.back() == range(0, 2));
    scene.arrive(second, range(0, 2));
    scene.check_complete(0, "t2", second);
  }
}
