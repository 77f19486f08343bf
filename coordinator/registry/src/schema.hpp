#pragma once

#include <array>
#include <string_view>

namespace flops::registry {

// Forward only: change nothing here once released, append.
inline constexpr std::array<std::string_view, 10> migrations = {
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
)sql",
    // Clusters: rounds, participants, contributions and metrics are of the top (no cluster) or of one cluster. `member`
    // is the cluster of a device that measured the top's model. A table's key cannot be changed: they are made anew.
    R"sql(
CREATE TABLE parts(
  run TEXT NOT NULL REFERENCES runs(id), cluster TEXT NOT NULL, part INTEGER NOT NULL, first_round INTEGER NOT NULL,
  phase TEXT NOT NULL, reason TEXT NOT NULL, round INTEGER NOT NULL, model TEXT NOT NULL, wanted INTEGER NOT NULL,
  failed_initialisations INTEGER NOT NULL, PRIMARY KEY(run, cluster)) WITHOUT ROWID;
CREATE TABLE handed_up(
  run TEXT NOT NULL REFERENCES runs(id), cycle INTEGER NOT NULL, cluster TEXT NOT NULL, task TEXT NOT NULL,
  base_cycle INTEGER NOT NULL, round INTEGER NOT NULL, model TEXT NOT NULL, base TEXT NOT NULL,
  samples INTEGER NOT NULL, steps INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(run, cycle, cluster))
  WITHOUT ROWID;
ALTER TABLE models ADD COLUMN cluster TEXT NOT NULL DEFAULT '';

CREATE TABLE new_participants(
  run TEXT NOT NULL REFERENCES runs(id), cluster TEXT NOT NULL, device TEXT NOT NULL, task TEXT NOT NULL,
  kind TEXT NOT NULL, answer INTEGER NOT NULL, round INTEGER NOT NULL, base TEXT NOT NULL,
  PRIMARY KEY(run, cluster, device)) WITHOUT ROWID;
INSERT INTO new_participants SELECT run, '', device, task, kind, answer, round, base FROM participants;
DROP TABLE participants;
ALTER TABLE new_participants RENAME TO participants;

CREATE TABLE new_rounds(
  run TEXT NOT NULL REFERENCES runs(id), cluster TEXT NOT NULL, round INTEGER NOT NULL, state TEXT NOT NULL,
  rejected INTEGER NOT NULL DEFAULT 0, bytes_down INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0,
  model TEXT NOT NULL DEFAULT '', opened_at INTEGER NOT NULL, dropped INTEGER NOT NULL DEFAULT 0,
  algorithm_state TEXT NOT NULL DEFAULT '', PRIMARY KEY(run, cluster, round)) WITHOUT ROWID;
INSERT INTO new_rounds SELECT run, '', round, state, rejected, bytes_down, seconds, model, opened_at, dropped,
  algorithm_state FROM rounds;
CREATE TABLE new_contributions(
  run TEXT NOT NULL, cluster TEXT NOT NULL, round INTEGER NOT NULL, device TEXT NOT NULL, task TEXT NOT NULL,
  blob TEXT NOT NULL, bytes INTEGER NOT NULL, weight INTEGER NOT NULL, train_loss REAL NOT NULL,
  train_seconds REAL NOT NULL, at INTEGER NOT NULL, base_round INTEGER NOT NULL, base TEXT NOT NULL,
  local_rounds INTEGER NOT NULL, steps INTEGER NOT NULL, PRIMARY KEY(run, cluster, round, device),
  FOREIGN KEY(run, cluster, round) REFERENCES new_rounds(run, cluster, round)) WITHOUT ROWID;
INSERT INTO new_contributions SELECT run, '', round, device, task, blob, bytes, weight, train_loss, train_seconds, at,
  base_round, base, local_rounds, steps FROM contributions;
CREATE TABLE new_metrics(
  run TEXT NOT NULL, cluster TEXT NOT NULL, round INTEGER NOT NULL, device TEXT NOT NULL, member TEXT NOT NULL,
  samples INTEGER NOT NULL, loss REAL NOT NULL, accuracy REAL NOT NULL, seconds REAL NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(run, cluster, round, device),
  FOREIGN KEY(run, cluster, round) REFERENCES new_rounds(run, cluster, round)) WITHOUT ROWID;
INSERT INTO new_metrics SELECT run, '', round, device, '', samples, loss, accuracy, seconds, at FROM metrics;
DROP TABLE metrics;
DROP TABLE contributions;
DROP TABLE rounds;
ALTER TABLE new_rounds RENAME TO rounds;
ALTER TABLE new_contributions RENAME TO contributions;
ALTER TABLE new_metrics RENAME TO metrics;
CREATE UNIQUE INDEX contributions_task ON contributions(run, task, device);
)sql",
    // Sites: what an update is encoded with, and how far apart the devices of one that measured a model are.
    R"sql(
ALTER TABLE contributions ADD COLUMN codec TEXT NOT NULL DEFAULT 'lossless';
ALTER TABLE metrics ADD COLUMN accuracy_min REAL NOT NULL DEFAULT 0;
ALTER TABLE metrics ADD COLUMN accuracy_max REAL NOT NULL DEFAULT 0;
ALTER TABLE metrics ADD COLUMN devices INTEGER NOT NULL DEFAULT 1;
UPDATE metrics SET accuracy_min = accuracy, accuracy_max = accuracy;
)sql",
    // Parts of another coordinator's runs: each is a run, with the key that the asker gave it. What was written before
    // was asked for here.
    R"sql(
ALTER TABLE runs ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN part INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN first_round INTEGER NOT NULL DEFAULT 1;
CREATE TABLE asked_parts(
  run TEXT PRIMARY KEY REFERENCES runs(id), key TEXT NOT NULL, base TEXT NOT NULL, sum INTEGER NOT NULL,
  forgotten INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE UNIQUE INDEX asked_parts_key ON asked_parts(key) WHERE forgotten = 0;
)sql",
    // What a device is was believed before; from now on its enrolment says so.
    R"sql(
ALTER TABLE enrolment_tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'device';
ALTER TABLE devices ADD COLUMN role TEXT NOT NULL DEFAULT 'device';
ALTER TABLE devices ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
UPDATE devices SET role = 'cluster' WHERE
  CASE WHEN json_valid(hello) THEN json_extract(hello, '$.role') END = 'cluster';
)sql",
    // The life of a device: every certificate it may hold (`pem` is empty of those from before), tokens for one device
    // or with an approval by hand, what the operator wants of it, who did what.
    R"sql(
CREATE TABLE certificates(
  serial TEXT PRIMARY KEY, device TEXT NOT NULL, issued_at INTEGER NOT NULL, not_after INTEGER NOT NULL,
  revoked_at INTEGER NOT NULL DEFAULT 0, pem TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX certificates_device ON certificates(device);
INSERT OR IGNORE INTO certificates SELECT certificate_serial, id, enrolled_at, certificate_not_after, 0, '' FROM devices;
ALTER TABLE devices ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN wanted TEXT NOT NULL DEFAULT '';
ALTER TABLE enrolment_tokens ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrolment_tokens ADD COLUMN device TEXT NOT NULL DEFAULT '';
CREATE TABLE audit(
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,
  detail TEXT NOT NULL);
CREATE INDEX audit_target ON audit(target);
)sql",
    // Projects, and what a run of one was made from.
    R"sql(
CREATE TABLE projects(
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, description TEXT NOT NULL, tags TEXT NOT NULL,
  created_at INTEGER NOT NULL) WITHOUT ROWID;
ALTER TABLE runs ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN source_commit TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN manifest TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
)sql"};

}  // namespace flops::registry
