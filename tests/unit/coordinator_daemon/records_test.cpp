#include "records.hpp"

#include <optional>
#include <string>

#include <doctest/doctest.h>

using namespace flops;
using namespace flops::coordinator;

namespace {

// A storage that works or does not, and what reached it.
struct Store {
  std::optional<ErrorKind> broken;
  std::string written;

  Records::Step step(const std::string& text) {
    return [this, text]() -> Result<> {
      if (broken) {
        return fail(*broken, "broken");
      }
      written += text;
      return {};
    };
  }
};

}  // namespace

TEST_CASE("records: while the storage works they are written at once") {
  Store store;
  Records records;
  CHECK(records.write("a", store.step("1")).has_value());
  CHECK(records.write("a", store.step("2")).has_value());
  CHECK(store.written == "12");
  CHECK(records.settled());
  CHECK(records.retry().has_value());
}

TEST_CASE("records: what could not be written is written later, in order and before what comes after it") {
  Store store;
  Records records;
  for (const ErrorKind kind : {ErrorKind::resource, ErrorKind::transient, ErrorKind::denied, ErrorKind::corrupt}) {
    CAPTURE(to_string(kind));
    store = {kind, ""};
    const auto refused = records.write("a", store.step("1"));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == kind);
    CHECK_FALSE(records.settled());
    store.broken.reset();
    CHECK(records.write("b", store.step("2")).has_value());  // behind the first
    CHECK(store.written.empty());
    CHECK(records.retry().has_value());
    CHECK(store.written == "12");
    CHECK(records.settled());
  }
}

TEST_CASE("records: a newer value takes the place of one that waits") {
  Store store{ErrorKind::resource, ""};
  Records records;
  CHECK_FALSE(records.write("run", store.step("old")).has_value());
  CHECK(records.write("round", store.step("r")).has_value());
  CHECK(records.write("run", store.step("new")).has_value());
  CHECK_FALSE(records.retry().has_value());
  CHECK_FALSE(records.settled());
  store.broken.reset();
  CHECK(records.retry().has_value());
  CHECK(store.written == "newr");
}

TEST_CASE("records: what waiting does not help is forgotten, and the rest goes on") {
  Store store{ErrorKind::permanent, ""};
  Store other{ErrorKind::resource, ""};
  Records records;
  CHECK_FALSE(records.write("a", store.step("1")).has_value());
  CHECK(records.settled());
  CHECK_FALSE(records.write("b", other.step("2")).has_value());
  CHECK(records.write("a", store.step("1")).has_value());
  CHECK(records.write("c", other.step("3")).has_value());
  other.broken.reset();
  CHECK(records.retry().has_value());
  CHECK(records.settled());
  CHECK(other.written == "23");
  CHECK(store.written.empty());
}
