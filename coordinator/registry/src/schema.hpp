#pragma once

#include <array>
#include <string_view>

namespace flops::registry {

// Forward only: change nothing here once released, append.
inline constexpr std::array<std::string_view, 4> migrations = {
    R"sql(
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
)sql",
    // Late updates. What was written before was never late: a task was of its run's round, a contribution of its own.
    R"sql(
ALTER TABLE runs ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rounds ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE participants ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE participants ADD COLUMN base TEXT NOT NULL DEFAULT '';
UPDATE participants SET round = (SELECT round FROM runs WHERE id = run),
  base = (SELECT model FROM runs WHERE id = run);
ALTER TABLE contributions ADD COLUMN base_round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contributions ADD COLUMN base TEXT NOT NULL DEFAULT '';
UPDATE contributions SET base_round = round, base = COALESCE(
  (SELECT model FROM rounds WHERE rounds.run = contributions.run AND rounds.round = contributions.round - 1),
  (SELECT digest FROM models WHERE models.run = contributions.run AND models.round = 0), '');
CREATE UNIQUE INDEX contributions_task ON contributions(run, task, device);
)sql",
    // Rounds that devices trained on while offline. What was written before is taken for one each.
    R"sql(
ALTER TABLE contributions ADD COLUMN local_rounds INTEGER NOT NULL DEFAULT 1;
)sql",
    // Algorithms: the state that a round's step left for the next one, and what FedNova weighs with (0: unknown).
    R"sql(
ALTER TABLE rounds ADD COLUMN algorithm_state TEXT NOT NULL DEFAULT '';
ALTER TABLE contributions ADD COLUMN steps INTEGER NOT NULL DEFAULT 0;
)sql"};

}  // namespace flops::registry
