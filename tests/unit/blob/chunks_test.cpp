#include <doctest/doctest.h>

#include "flops/blob/chunks.hpp"

namespace flops::blob {
namespace {

TEST_CASE("blob: the number and the sizes of chunks at the boundaries") {
  struct Case {
    std::uint64_t size;
    std::uint32_t count;
    std::uint32_t last;
  };
  for (const Case& row : {Case{1, 1, 1}, Case{chunk_size - 1, 1, chunk_size - 1}, Case{chunk_size, 1, chunk_size},
                          Case{chunk_size + 1, 2, 1}, Case{3ULL * chunk_size, 3, chunk_size}}) {
    CAPTURE(row.size);
    CHECK(chunk_count(row.size) == row.count);
    CHECK(chunk_bytes(row.size, row.count - 1) == row.last);
    CHECK(chunk_bytes(row.size, row.count) == 0);
  }
  CHECK(chunk_count(0) == 0);
  CHECK(chunk_bytes(0, 0) == 0);
  CHECK(chunk_count(max_blob_size) == max_blob_size / chunk_size);
}

TEST_CASE("blob: missing chunks are told as merged ranges") {
  ChunkSet set(10);
  CHECK(set.missing() == ChunkRanges{{0, 9}});
  for (const std::uint32_t n : {0U, 4U, 5U, 9U}) {
    CHECK(set.add(n));
  }
  CHECK(set.missing() == ChunkRanges{{1, 3}, {6, 8}});
  CHECK(set.missing(4) == ChunkRanges{{1, 3}, {6, 6}});
  CHECK(set.missing(0).empty());
  for (const std::uint32_t n : {1U, 3U, 6U, 7U, 8U}) {
    CHECK(set.add(n));
  }
  CHECK(set.missing() == ChunkRanges{{2, 2}});
  CHECK_FALSE(set.complete());
  CHECK(set.add(2));
  CHECK(set.complete());
  CHECK(set.missing().empty());
}

TEST_CASE("blob: a chunk counts once, and only when it exists") {
  ChunkSet set(2);
  CHECK(set.add(1));
  CHECK_FALSE(set.add(1));
  CHECK_FALSE(set.add(2));
  CHECK(set.present() == 1);
  CHECK(set.has(1));
  CHECK_FALSE(set.has(0));
  CHECK_FALSE(set.has(UINT32_MAX));
}

}  // namespace
}  // namespace flops::blob
