// The schemas of the agent's two databases, one migration a version. Migrations that have shipped never change.
#pragma once

#include <array>
#include <string_view>

namespace flops::agent {

inline constexpr std::array<std::string_view, 4> state_migrations = {R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- The messages are kept as they stand on the wire: one format, one decoder.
CREATE TABLE tasks(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  phase TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  interruptions INTEGER NOT NULL,
  task TEXT NOT NULL,
  result TEXT,
  metrics TEXT,
  metrics_delivered INTEGER NOT NULL
);
-- Ids of tasks that are over, so that a message that comes again does not start them again.
CREATE TABLE finished(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);

-- Long values in parts of 256 KiB. key: the digest of a blob or model, the task of an update.
CREATE TABLE contents(
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('blob', 'model', 'update')),
  key TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  UNIQUE (kind, key)
);
CREATE TABLE parts(
  content INTEGER NOT NULL REFERENCES contents(id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  data BLOB NOT NULL,
  UNIQUE (content, n)
);

CREATE TABLE models(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  digest TEXT NOT NULL UNIQUE,
  run TEXT NOT NULL,
  layout TEXT NOT NULL,
  bytes INTEGER NOT NULL
);
CREATE TABLE evaluations(seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE datasets(tag TEXT PRIMARY KEY, train_samples INTEGER NOT NULL, test_samples INTEGER NOT NULL) WITHOUT ROWID;
)sql",
                                                                     R"sql(
-- Contents may be checkpoints too. Both tables are made anew: SQLite cannot change a CHECK, and dropping `contents` alone
-- would take the parts with it.
CREATE TABLE contents_2(
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('blob', 'model', 'update', 'checkpoint')),
  key TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  UNIQUE (kind, key)
);
CREATE TABLE parts_2(
  content INTEGER NOT NULL REFERENCES contents_2(id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  data BLOB NOT NULL,
  UNIQUE (content, n)
);
INSERT INTO contents_2 SELECT id, kind, key, bytes FROM contents;
INSERT INTO parts_2 SELECT content, n, data FROM parts;
DROP TABLE parts;
DROP TABLE contents;
ALTER TABLE contents_2 RENAME TO contents;
ALTER TABLE parts_2 RENAME TO parts;

-- The newest checkpoint of a task's training.
CREATE TABLE checkpoints(task TEXT PRIMARY KEY, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
)sql",
                                                                     R"sql(
-- Long values live in contents.db. Work in progress begins again, once; the coordinator sends its open tasks anew.
DELETE FROM tasks;
DROP TABLE checkpoints;
DROP TABLE models;
DROP TABLE parts;
DROP TABLE contents;
)sql",
                                                                     R"sql(
-- Local rounds that were trained offline, as the result they would make; its `update` names the parameters, a model.
ALTER TABLE tasks ADD COLUMN continued TEXT;
)sql"};

inline constexpr std::array<std::string_view, 2> content_migrations = {R"sql(
-- Long values in parts of 256 KiB. key: the digest of a blob or model, the task of an update or checkpoint. An id is
-- never used again: the ids of dropped contents are remembered for a while.
CREATE TABLE contents(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL CHECK (kind IN ('blob', 'model', 'update', 'checkpoint')),
  key TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  UNIQUE (kind, key)
);
CREATE TABLE parts(
  content INTEGER NOT NULL REFERENCES contents(id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  data BLOB NOT NULL,
  UNIQUE (content, n)
);
CREATE TABLE models(
  content INTEGER PRIMARY KEY REFERENCES contents(id) ON DELETE CASCADE,
  run TEXT NOT NULL,
  layout TEXT NOT NULL
);
-- The newest checkpoint of a task's training.
CREATE TABLE checkpoints(
  content INTEGER PRIMARY KEY REFERENCES contents(id) ON DELETE CASCADE,
  sha256 TEXT NOT NULL
);
)sql",
                                                                       R"sql(
-- Control variates: contents of the kind 'model' that are listed here and not among the models. SQLite cannot change a
-- CHECK, and copying every part for a kind of their own would wear the card and need its room twice.
CREATE TABLE variates(
  content INTEGER PRIMARY KEY REFERENCES contents(id) ON DELETE CASCADE,
  run TEXT NOT NULL,
  task TEXT,  -- whose update it goes with, until that is receipted; none: it is the run's
  sha256 TEXT NOT NULL
);
)sql"};

}  // namespace flops::agent
