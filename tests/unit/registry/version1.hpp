// The coordinator's database as version 1 of its schema made it, with a run in the middle of its second round.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "flops/store/database.hpp"

namespace flops::registry::testing {

inline constexpr std::array<std::string_view, 1> version1 = {R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE api_tokens(
  secret TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE enrolment_tokens(
  id INTEGER PRIMARY KEY, secret TEXT NOT NULL UNIQUE, note TEXT NOT NULL, uses_left INTEGER NOT NULL,
  expires_at INTEGER NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE devices(
  id TEXT PRIMARY KEY, state TEXT NOT NULL, public_key TEXT NOT NULL, certificate_serial TEXT NOT NULL,
  certificate_not_after INTEGER NOT NULL, enrolled_at INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  hello TEXT) WITHOUT ROWID;
CREATE TABLE runs(
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, spec TEXT NOT NULL, phase TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '', round INTEGER NOT NULL DEFAULT 0, model TEXT NOT NULL DEFAULT '',
  failed_initialisations INTEGER NOT NULL DEFAULT 0, layout TEXT NOT NULL DEFAULT '',
  parameters INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 1, created_at INTEGER NOT NULL,
  finished_at INTEGER NOT NULL DEFAULT 0);
CREATE TABLE participants(
  run TEXT NOT NULL REFERENCES runs(id), device TEXT NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL,
  answer INTEGER NOT NULL, PRIMARY KEY(run, device)) WITHOUT ROWID;
CREATE TABLE rounds(
  run TEXT NOT NULL REFERENCES runs(id), round INTEGER NOT NULL, state TEXT NOT NULL,
  rejected INTEGER NOT NULL DEFAULT 0, bytes_down INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0,
  model TEXT NOT NULL DEFAULT '', opened_at INTEGER NOT NULL, PRIMARY KEY(run, round)) WITHOUT ROWID;
CREATE TABLE contributions(
  run TEXT NOT NULL, round INTEGER NOT NULL, device TEXT NOT NULL, task TEXT NOT NULL, blob TEXT NOT NULL,
  bytes INTEGER NOT NULL, weight INTEGER NOT NULL, train_loss REAL NOT NULL, train_seconds REAL NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY(run, round, device),
  FOREIGN KEY(run, round) REFERENCES rounds(run, round)) WITHOUT ROWID;
CREATE TABLE metrics(
  run TEXT NOT NULL, round INTEGER NOT NULL, device TEXT NOT NULL, samples INTEGER NOT NULL, loss REAL NOT NULL,
  accuracy REAL NOT NULL, seconds REAL NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(run, round, device),
  FOREIGN KEY(run, round) REFERENCES rounds(run, round)) WITHOUT ROWID;
CREATE TABLE models(
  digest TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), round INTEGER NOT NULL, layout TEXT NOT NULL,
  parameters INTEGER NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;
)sql"};

// Digests that are easy to tell apart.
inline std::string hex(char digit) {
  return std::string(64, digit);
}

inline void write_version1(const std::filesystem::path& file) {
  auto database = store::Database::open(file, version1);
  REQUIRE(database.has_value());
  const auto run = [&](std::string_view sql, store::Values values = {}) {
    const auto done = database->run(sql, values);
    REQUIRE_MESSAGE(done.has_value(), done.error().what);
  };
  constexpr std::string_view device =
      "INSERT INTO devices(id, state, public_key, certificate_serial, certificate_not_after, enrolled_at, last_seen, "
      "hello) VALUES(?, 'accepted', 'k', 's', 1, 2, 3, ?)";
  run(device, {"a-device", R"({"v":1,"session":"s"})"});
  run(device, {"a-site", R"({"v":1,"session":"s","role":"cluster"})"});
  run(device, {"garbled", "{"});
  run("INSERT INTO devices(id, state, public_key, certificate_serial, certificate_not_after, enrolled_at, last_seen) "
      "VALUES('silent', 'accepted', 'k', 's', 1, 2, 3)");
  run("INSERT INTO enrolment_tokens(secret, note, uses_left, expires_at, created_at) VALUES('x', '', 1, 5, 4)");
  run("INSERT INTO runs(number, id, spec, phase, round, model, created_at) VALUES(1, 'run-1', ?, 'fitting', 2, ?, 7)",
      {R"({"model":"m","data":"d","rounds":3,"fraction":0.5})", hex('b')});
  run("INSERT INTO models(digest, run, round, layout, parameters, bytes, created_at) VALUES(?, 'run-1', 0, ?, 9, 9, 7)",
      {hex('a'), hex('1')});
  run("INSERT INTO models(digest, run, round, layout, parameters, bytes, created_at) VALUES(?, 'run-1', 1, ?, 9, 9, 7)",
      {hex('b'), hex('1')});
  run("INSERT INTO rounds(run, round, state, model, opened_at) VALUES('run-1', 1, 'evaluating', ?, 7)", {hex('b')});
  run("INSERT INTO rounds(run, round, state, opened_at) VALUES('run-1', 2, 'fitting', 8)");
  constexpr std::string_view contribution =
      "INSERT INTO contributions(run, round, device, task, blob, bytes, weight, train_loss, train_seconds, at) "
      "VALUES('run-1', ?, ?, ?, ?, 100, 10, 0.5, 1.0, 9)";
  run(contribution, {1, "d-1", "run-1.r1.aa", hex('c')});
  run(contribution, {1, "d-2", "run-1.r1.bb", hex('d')});
  run(contribution, {2, "d-1", "run-1.r2.aa", hex('e')});
  run("INSERT INTO metrics(run, round, device, samples, loss, accuracy, seconds, at) "
      "VALUES('run-1', 1, 'd-1', 10, 0.5, 0.75, 1.0, 9)");
  run("INSERT INTO participants(run, device, task, kind, answer) VALUES('run-1', 'd-1', 'run-1.r2.aa', 'train', 1)");
  run("INSERT INTO participants(run, device, task, kind, answer) VALUES('run-1', 'd-2', 'run-1.r2.bb', 'train', 0)");
}

}  // namespace flops::registry::testing
