#pragma once

#include <array>
#include <string_view>

#include <doctest/doctest.h>

#include "flops/store/database.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::store {

inline constexpr std::array<std::string_view, 1> schema = {
    "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB);"
    "CREATE TABLE parts(item INTEGER NOT NULL REFERENCES items(id));"};

inline Database open_items(const std::filesystem::path& file) {
  auto database = Database::open(file, schema);
  REQUIRE_MESSAGE(database, (database ? "" : database.error().what));
  return std::move(*database);
}

inline std::int64_t count_items(Database& database) {
  auto count = database.integer("SELECT count(*) FROM items");
  REQUIRE(count);
  return count->value_or(-1);
}

}  // namespace flops::store
