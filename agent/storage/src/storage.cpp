#include "flops/agent_storage/storage.hpp"

#include <system_error>

#include "flops/core/log.hpp"
#include "schema.hpp"

namespace flops::agent {
namespace {

constexpr const char* states_file = "agent.db";
constexpr const char* contents_file = "contents.db";

Result<store::Database> open_checked(const std::filesystem::path& file, std::span<const std::string_view> migrations,
                                     const store::OpenOptions& options) {
  auto db = store::Database::open(file, migrations, options);
  if (!db) {
    return db;
  }
  if (auto checked = db->check_at_start(); !checked) {
    return fail(checked.error());
  }
  return db;
}

Result<store::Database> open_states(const std::filesystem::path& folder, const std::string& vfs) {
  store::OpenOptions options;
  options.vfs = vfs;
  options.cache_kib = 128;
  // A log that keeps its size is written in place, and syncing it does not touch the file system's journal.
  options.wal_limit_bytes = 1 << 20;
  options.checkpoint_pages = 0;
  return open_checked(folder / states_file, state_migrations, options);
}

Result<store::Database> open_contents(const std::filesystem::path& folder, const std::string& vfs) {
  store::OpenOptions options;
  options.vfs = vfs;
  options.journal = store::Journal::rollback;
  options.cache_kib = 256;
  options.wal_limit_bytes = 256 << 10;  // of the rollback journal
  return open_checked(folder / contents_file, content_migrations, options);
}

Result<std::filesystem::path> move_aside(const std::filesystem::path& file, std::int64_t now) {
  std::filesystem::path target = fmt::format("{}.damaged-{}", file.string(), now);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return target;
  }
  std::filesystem::rename(file, target, error);
  if (error) {
    return fail(errno_error(error.value(), fmt::format("setting {} aside", file.string())));
  }
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    std::filesystem::rename(file.string() + suffix, target.string() + suffix, error);  // may not be there
  }
  return target;
}

template <class Message>
std::optional<std::string> encoded(const std::optional<Message>& message) {
  return message ? std::optional(wire::encode(*message)) : std::nullopt;
}

store::Value nullable(const std::optional<std::string>& text) {
  return text ? store::Value(*text) : store::Value();
}

template <class Message>
Result<> decode_into(const store::Row& row, int column, std::optional<Message>& into) {
  if (row.is_null(column)) {
    return {};
  }
  auto message = wire::decode<Message>(row.text(column));
  if (!message) {
    return fail(message.error());
  }
  into = *std::move(message);
  return {};
}

// Continued as the result message that it would make, so that there is one format and one decoder.
std::optional<wire::ResultMessage> message_of(const TaskState& state) {
  if (!state.continued) {
    return std::nullopt;
  }
  const Outcome& outcome = state.continued->outcome;
  wire::ResultMessage message;
  message.ref = state.task.ref;
  message.update = {state.continued->parameters, 1};
  message.layout = outcome.layout;
  message.weight = outcome.weight;
  message.train_loss = outcome.train_loss;
  message.train_seconds = outcome.train_seconds;
  message.local_rounds = state.continued->rounds;
  message.steps = static_cast<std::int64_t>(outcome.steps);
  return message;
}

std::optional<Continued> continued_of(const std::optional<wire::ResultMessage>& message) {
  if (!message) {
    return std::nullopt;
  }
  return Continued{static_cast<int>(message->local_rounds),
                   message->update.sha256,
                   {message->weight,
                    message->train_loss,
                    message->train_seconds,
                    message->layout,
                    {},
                    static_cast<std::uint64_t>(message->steps)},
                   false};
}

Result<TaskState> read_task(const store::Row& row) {
  TaskState state;
  auto phase = parse_phase(row.text(0));
  auto task = wire::decode<wire::Task>(row.text(3));
  if (!phase || !task) {
    return fail(phase ? task.error() : phase.error());
  }
  state.phase = *phase;
  state.task = *std::move(task);
  state.attempts = static_cast<int>(row.integer(1));
  state.interruptions = static_cast<int>(row.integer(2));
  state.metrics_delivered = row.integer(6) != 0;
  if (auto result = decode_into(row, 4, state.result); !result) {
    return fail(result.error());
  }
  if (auto metrics = decode_into(row, 5, state.metrics); !metrics) {
    return fail(metrics.error());
  }
  std::optional<wire::ResultMessage> continued;
  if (auto kept = decode_into(row, 8, continued); !kept) {
    return fail(kept.error());
  }
  state.continued = continued_of(continued);
  if (auto broken = broken_invariant(state)) {
    return fail(ErrorKind::corrupt, "{}", *broken);
  }
  return state;
}

}  // namespace

Result<Storage> Storage::open(const std::filesystem::path& folder, Damaged damaged, std::int64_t now,
                              const StorageOptions& options) {
  const auto both = [&]() -> Result<Storage> {
    auto states = open_states(folder, options.vfs);
    auto contents = states ? open_contents(folder, options.vfs) : fail(states.error());
    if (!contents) {
      return fail(contents.error());
    }
    return Storage(*std::move(states), *std::move(contents), options.model_quota);
  };
  auto storage = both();
  if (storage || storage.error().kind != ErrorKind::corrupt || damaged == Damaged::refuse) {
    return storage;
  }
  log::error("storage", "a database is damaged ({}); both are set aside, work in progress starts again",
             storage.error().what);
  auto contents = move_aside(folder / contents_file, now);
  auto states = contents ? move_aside(folder / states_file, now) : contents;
  if (!states) {
    return fail(states.error());
  }
  storage = both();
  if (storage) {
    storage->set_aside_ = *std::move(states);
  }
  return storage;
}

Result<> Storage::transaction(const std::function<Result<>()>& body, store::Durability durability) {
  const std::set<std::int64_t> doomed = doomed_;
  auto outcome = states_.transaction([&] { return contents_.transaction(body, durability); }, durability);
  if (!outcome) {
    doomed_ = doomed;
  }
  return outcome;
}

Result<> Storage::tidy() {
  if (!doomed_.empty()) {
    // A state that was taken back by a power cut would miss them.
    auto done = states_.sync();
    done = done ? contents_.transaction(
                      [&]() -> Result<> {
                        Result<> dropped;
                        for (const std::int64_t id : doomed_) {
                          dropped = dropped ? contents_.run("DELETE FROM contents WHERE id = ?", {id}) : dropped;
                        }
                        return dropped;
                      },
                      store::Durability::normal)
                : done;
    if (!done) {
      return done;
    }
    doomed_.clear();
  }
  return states_.checkpoint();
}

void Storage::release_memory() {
  states_.release_memory();
  contents_.release_memory();
}

Result<> Storage::put_task(const TaskState& state) {
  const std::string& id = state.task.ref.task.str();
  if (state.phase == Phase::absent) {
    return states_.run("DELETE FROM tasks WHERE id = ?", {id});
  }
  if (state.phase == Phase::finished) {
    if (auto removed = states_.run("DELETE FROM tasks WHERE id = ?", {id}); !removed) {
      return removed;
    }
    if (auto noted = states_.run("INSERT OR IGNORE INTO finished(id) VALUES(?)", {id}); !noted) {
      return noted;
    }
    return states_.run("DELETE FROM finished WHERE seq <= (SELECT max(seq) FROM finished) - ?",
                       {static_cast<std::int64_t>(max_finished)});
  }
  const std::string task = wire::encode(state.task);
  const auto result = encoded(state.result);
  const auto metrics = encoded(state.metrics);
  const auto continued = encoded(message_of(state));
  return states_.run(
      "INSERT INTO tasks(id, phase, attempts, interruptions, task, result, metrics, metrics_delivered, continued) "
      "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET phase = excluded.phase, "
      "attempts = excluded.attempts, interruptions = excluded.interruptions, task = excluded.task, "
      "result = excluded.result, metrics = excluded.metrics, metrics_delivered = excluded.metrics_delivered, "
      "continued = excluded.continued",
      {id, to_string(state.phase), state.attempts, state.interruptions, task, nullable(result), nullable(metrics),
       state.metrics_delivered, nullable(continued)});
}

Result<std::vector<TaskState>> Storage::tasks(std::size_t& damaged_rows) {
  std::vector<TaskState> states;
  std::vector<std::int64_t> unreadable;
  auto read = states_.each(
      "SELECT phase, attempts, interruptions, task, result, metrics, metrics_delivered, seq, continued FROM tasks "
      "ORDER BY seq",
      {}, [&](const store::Row& row) -> Result<> {
        if (auto state = read_task(row)) {
          states.push_back(*std::move(state));
        } else {
          log::error("storage", "a stored task cannot be read and is dropped: {}", state.error().what);
          unreadable.push_back(row.integer(7));
        }
        return {};
      });
  for (const std::int64_t seq : unreadable) {
    read = read ? states_.run("DELETE FROM tasks WHERE seq = ?", {seq}) : read;
  }
  if (!read) {
    return fail(read.error());
  }
  damaged_rows = unreadable.size();
  return states;
}

Result<bool> Storage::is_finished(const TaskId& task) {
  auto row = states_.integer("SELECT 1 FROM finished WHERE id = ?", {task.str()});
  if (!row) {
    return fail(row.error());
  }
  return row->has_value();
}

Result<> Storage::add_evaluation(const Evaluation& evaluation) {
  const std::string metrics = wire::encode(evaluation.metrics);
  if (auto added = states_.run("INSERT INTO evaluations(at, metrics) VALUES(?, ?)", {evaluation.at, metrics}); !added) {
    return added;
  }
  return states_.run("DELETE FROM evaluations WHERE seq <= (SELECT max(seq) FROM evaluations) - ?",
                     {static_cast<std::int64_t>(max_evaluations)});
}

Result<std::vector<Evaluation>> Storage::evaluations(std::size_t at_most) {
  std::vector<Evaluation> found;
  auto read = states_.each("SELECT at, metrics FROM evaluations ORDER BY seq DESC LIMIT ?",
                           {static_cast<std::int64_t>(at_most)}, [&](const store::Row& row) -> Result<> {
                             if (auto metrics = wire::decode<wire::Metrics>(row.text(1))) {
                               found.push_back({*std::move(metrics), row.integer(0)});
                             }
                             return {};
                           });
  if (!read) {
    return fail(read.error());
  }
  return found;
}

Result<> Storage::put_datasets(const std::vector<wire::Dataset>& datasets) {
  return transaction([&]() -> Result<> {
    auto done = states_.run("DELETE FROM datasets");
    for (const wire::Dataset& dataset : datasets) {
      done = done ? states_.run("INSERT INTO datasets(tag, train_samples, test_samples) VALUES(?, ?, ?)",
                                {dataset.tag, dataset.train_samples, dataset.test_samples})
                  : done;
    }
    return done;
  });
}

Result<std::vector<wire::Dataset>> Storage::datasets() {
  std::vector<wire::Dataset> found;
  auto read = states_.each(
      "SELECT tag, train_samples, test_samples FROM datasets ORDER BY tag", {}, [&](const store::Row& row) -> Result<> {
        found.push_back(
            {row.text(0), static_cast<std::uint64_t>(row.integer(1)), static_cast<std::uint64_t>(row.integer(2))});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return found;
}

Result<> Storage::put_meta(std::string_view key, std::string_view value) {
  return states_.run("INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                     {key, value});
}

Result<std::optional<std::string>> Storage::meta(std::string_view key) {
  return states_.text("SELECT value FROM meta WHERE key = ?", {key});
}

Result<std::uint64_t> Storage::reusable_bytes() {
  auto pages = contents_.integer("PRAGMA freelist_count");
  auto bytes = pages ? contents_.integer("PRAGMA page_size") : pages;
  if (!bytes) {
    return fail(bytes.error());
  }
  return static_cast<std::uint64_t>(pages->value_or(0)) * static_cast<std::uint64_t>(bytes->value_or(0));
}

}  // namespace flops::agent
