#include "agent.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>

#include "flops/agent_data/idx.hpp"
#include "flops/core/io.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/digest.hpp"
#include "memory.hpp"

namespace flops::agent {
namespace {

using std::chrono::seconds;

constexpr seconds tick_interval{60};
constexpr seconds stop_limit{8};

std::string make_session() {
  return crypto::base64url(crypto::random_bytes(12));
}

trainer::ProcessTrainerOptions worker_options(const Config& config) {
  trainer::ProcessTrainerOptions options;
  options.warm_for = config.trainer_warm_for;
  // The agent has to be gone within seconds of a SIGTERM.
  options.cancel_grace = seconds(3);
  options.memory_limit_mb = config.trainer_memory_limit_mb;
  if (config.is_uplink()) {  // it mostly waits, and others wait for it
    const SiteConfig& site = config.site;
    options.program = site.program;
    options.arguments = {"--site-url", site.url, "--site-ca-file", site.ca_file, "--site-token-file", site.token_file};
    options.nice = 0;
    options.background = false;
    return options;
  }
  options.program = config.trainer_program;
  options.arguments = {"--device", config.trainer_device};
  options.threads = config.trainer_threads;
  options.nice = static_cast<int>(config.trainer_nice);
  options.background = config.trainer_background;
  options.control_group = config.trainer_control_group;
  return options;
}

}  // namespace

Agent::Agent(boost::asio::io_context& loop, const Config& config, const Identity& identity, Storage storage)
    : loop_(loop),
      file_config_(config),
      config_(config),
      identity_(identity),
      storage_(std::move(storage)),
      session_(make_session()),
      machine_(machine(config.system_root)),
      sensors_(read_sensors(config.system_root / "sys")),
      manager_(loop.get_executor()),
      tick_timer_(loop),
      schedule_timer_(loop),
      tidy_timer_(loop),
      answer_timer_(loop),
      probe_timer_(loop),
      stop_timer_(loop),
      trainer_(loop.get_executor(), worker_options(config)),
      probes_(config.system_root),
      governor_(loop.get_executor(), config.conditions, probes_,
                [this](const Verdict& verdict) { conditions_changed(verdict); }),
      fetcher_(loop.get_executor(), fetcher_ports()),
      uploader_(uploader_ports()),
      worker_(loop.get_executor()) {}

Agent::~Agent() = default;

Result<> Agent::start() {
  start_site_watch();
  read_certificate_life();
  recall_configuration();
  survey_datasets();
  std::size_t damaged = 0;
  auto tasks = storage_.tasks(damaged);
  if (!tasks) {
    return fail(tasks.error(), "reading the stored tasks");
  }
  if (auto dropped = drop_tasks_without_update(*tasks); !dropped) {
    return fail(dropped.error(), "looking for the stored updates");
  }
  if (auto kept = storage_.keep_only(*tasks); !kept) {
    return fail(kept.error(), "looking for what no task needs");
  }
  for (TaskState& state : *tasks) {
    entries_.push_back(std::make_shared<Entry>());
    entries_.back()->state = std::move(state);
  }
  wire::DeviceState will = device_state();
  will.online = false;
  will.lost = true;
  will.activity = "idle";
  will.task.clear();
  const auto attempt = [this, will]() mutable {
    will.sequence = state_sequence_.next_connection();
    link_->set_will(wire::encode(will));
  };
  auto link = Link::create(
      loop_.get_executor(), config_, identity_, wire::encode(will), newest_time_seen(),
      {[this] { on_link_up(); }, [this] { on_link_down(); }, [this](const Error& error) { on_link_failed(error); },
       [this](mqtt::Message message) { on_message(std::move(message)); }, attempt});
  if (!link) {
    return fail(link.error());
  }
  link_ = *std::move(link);
  recall_reconnect_window();
  for (const EntryPtr& entry : std::vector(entries_)) {
    auto held = storage_.has_model(entry->state.task.base);
    if (!held) {
      return fail(held.error(), "looking for the base models");
    }
    dispatch(entry->id(), event::Restarted{*held});
  }
  log::info("agent", "device {} of fleet {}, {} tasks taken up", identity_.device, identity_.fleet, entries_.size());
  link_->start();
  tick();
  ask_again();
  schedule_soon();
  manager_.ready();
  return {};
}

// Somebody deleted the file, or it was lost with the disk: the coordinator sends its open tasks again.
Result<> Agent::drop_tasks_without_update(std::vector<TaskState>& tasks) {
  for (auto state = tasks.begin(); state != tasks.end();) {
    const bool wanted = state->result && state->result->update.size > 0;
    auto held = wanted ? storage_.has_update(state->task.ref.task) : Result<bool>(true);
    if (held && *held) {
      ++state;
      continue;
    }
    if (held) {
      log::error("storage", "task {}: its update is not stored any more; the task is dropped", state->task.ref.task);
      state->phase = Phase::absent;
    }
    if (auto dropped = held ? storage_.put_task(*state) : Result<>(fail(held.error())); !dropped) {
      return dropped;
    }
    state = tasks.erase(state);
  }
  return {};
}

void Agent::stop() {
  if (std::exchange(stopping_, true)) {
    return;
  }
  log::info("agent", "stopping");
  manager_.stopping();
  worker_.stop();
  governor_.stop();
  if (site_watch_) {
    site_watch_->stop();
  }
  tick_timer_.cancel();
  schedule_timer_.cancel();
  tidy_timer_.cancel();
  answer_timer_.cancel();
  probe_timer_.cancel();
  fetcher_.stop_all();
  uploader_.link_down();
  wire::DeviceState goodbye = device_state();
  goodbye.online = false;
  goodbye.activity = "idle";
  goodbye.task.clear();
  goodbye.sequence = state_sequence_.next_state();
  parts_to_stop_ = 2;
  link_->stop(wire::encode(goodbye), [this] { stopped_part(); });
  trainer_.stop([this] { stopped_part(); });
  stop_timer_.expires_after(stop_limit);
  stop_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) {
      log::warn("agent", "not everything stopped in time");
      end();
    }
  });
}

void Agent::stopped_part() {
  if (--parts_to_stop_ == 0) {
    // After what is posted already, e.g. the trainer's last word about a task.
    boost::asio::post(loop_, [this] { end(); });
  }
}

void Agent::end() {
  keep_checkpoints();
  loop_.stop();
}

// Counts from the files' headers. Data that cannot be read is not offered, and said once.
void Agent::survey_datasets() {
  if (config_.is_uplink()) {
    return;  // the site's coordinator says it
  }
  std::vector<wire::Dataset> found;
  for (const trainer::DatasetFiles& files : config_.datasets) {
    auto train = count_idx_samples(files.train_samples, files.train_labels);
    auto test = count_idx_samples(files.test_samples, files.test_labels);
    if (train && test) {
      found.push_back({files.tag, *train, *test});
      dataset_problems_.erase(files.tag);
      continue;
    }
    const std::string problem = train ? test.error().what : train.error().what;
    if (std::exchange(dataset_problems_[files.tag], problem) != problem) {
      log::error("agent", "data set '{}' is not offered: {}", files.tag, problem);
    }
  }
  if (found != datasets_) {
    set_datasets(std::move(found));
  }
}

void Agent::set_datasets(std::vector<wire::Dataset> datasets) {
  datasets_ = std::move(datasets);
  if (auto stored = storage_.put_datasets(datasets_); !stored) {
    log::warn("agent", "recording the data sets: {}", stored.error().what);
  }
}

wire::DeviceState Agent::device_state() const {
  wire::DeviceState state;
  state.online = true;
  state.session = session_;
  state.agent_version = version;
  state.labels = config_.labels;
  state.activity = "idle";
  state.load = sensors_.load;
  state.temperature = sensors_.temperature;
  state.battery_percent = sensors_.battery_percent;
  state.undervoltage = sensors_.undervoltage;
  state.written_bytes = static_cast<std::int64_t>(store::bytes_written());
  state.configuration = wanted_.version;
  state.configuration_problem = wanted_problem_;
  state.written_last_task = static_cast<std::int64_t>(written_last_task_);
  if (has_task_in({Phase::ready, Phase::running})) {
    const bool storage = health_.find(storage_condition) != nullptr;
    state.paused = storage ? "the storage of this device does not work" : governor_.verdict().reason;
  }
  for (const health::Condition& condition : health_.all()) {
    state.health.push_back({condition.name, condition.text});
  }
  // What keeps the device busiest is what it says.
  static constexpr Phase order[] = {Phase::running,   Phase::encoding, Phase::assembling, Phase::fetching,
                                    Phase::uploading, Phase::offering, Phase::ready};
  for (const Phase phase : order) {
    const auto entry =
        std::ranges::find_if(entries_, [phase](const EntryPtr& candidate) { return candidate->state.phase == phase; });
    if (entry == entries_.end()) {
      continue;
    }
    const std::string& trainer_phase = (*entry)->work->phase;
    state.task = (*entry)->id().str();
    state.activity = phase == Phase::running && trainer_phase == "evaluating"
                         ? trainer_phase
                         : std::string(activity(phase, (*entry)->state.task.kind));
    return state;
  }
  return state;
}

void Agent::tell_service_manager(const wire::DeviceState& state) {
  std::string text = link_->up() ? fmt::format("connected as {}: {}", identity_.device, state.activity)
                                 : fmt::format("no connection to {}: {}", identity_.broker_host, state.activity);
  if (!state.paused.empty()) {
    text += fmt::format(", waiting: {}", state.paused);
  }
  for (const health::Condition& condition : health_.all()) {
    text += fmt::format("; {}", condition.text);
  }
  manager_.status(text);
}

void Agent::publish_state_if_changed() {
  wire::DeviceState state = device_state();
  tell_service_manager(state);
  if (!link_->up()) {
    return;
  }
  if (published_ == state) {
    return;
  }
  published_ = state;
  state.sequence = state_sequence_.next_state();
  mqtt::PublishOptions options;
  options.retain = true;
  link_->publish(link_->topics().device_state(identity_.device), wire::encode(state), options,
                 [this](const Result<>& outcome) {
                   if (!outcome) {
                     published_.reset();
                     log::warn("agent", "publishing the device's state: {}", outcome.error().what);
                   }
                 });
}

// Several transitions in a row are one message.
void Agent::state_changed_soon() {
  if (std::exchange(state_pending_, true)) {
    return;
  }
  boost::asio::post(loop_, [this] {
    state_pending_ = false;
    if (!stopping_) {
      publish_state_if_changed();
    }
  });
}

void Agent::tick() {
  sensors_ = read_sensors(config_.system_root / "sys");
  remember_time();
  watch_certificate();
  publish_state_if_changed();
  tidy();
  tick_timer_.expires_after(tick_interval);
  tick_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && !stopping_) {
      tick();
    }
  });
}

Fetcher::Ports Agent::fetcher_ports() {
  Fetcher::Ports ports;
  ports.subscribe = [this](const std::vector<std::uint32_t>& chunks, mqtt::Done done) {
    std::vector<std::string> filters;
    filters.reserve(chunks.size());
    for (const std::uint32_t n : chunks) {
      filters.push_back(link_->topics().chunk(fetcher_.current()->sha256, n));
    }
    link_->subscribe(std::move(filters), std::move(done));
  };
  ports.unsubscribe = [this](const Digest& blob, const std::vector<std::uint32_t>& chunks) {
    std::vector<std::string> filters;
    filters.reserve(chunks.size());
    for (const std::uint32_t n : chunks) {
      filters.push_back(link_->topics().chunk(blob, n));
    }
    link_->unsubscribe(std::move(filters));
  };
  ports.save = [this](const wire::BlobRef& blob, const std::vector<std::uint32_t>& chunks, const SharedFd& file) {
    auto saved = storage_.transaction(
        [&]() -> Result<> {
          std::vector<std::byte> bytes;
          for (const std::uint32_t n : chunks) {
            bytes.resize(blob::chunk_bytes(blob.size, n));
            auto done = read_at(file->get(), std::uint64_t{n} * blob::chunk_size, bytes);
            done = done ? storage_.put_chunk(blob, n, bytes) : done;
            if (!done) {
              return done;
            }
          }
          return {};
        },
        store::Durability::normal);
    if (!saved) {
      // The fetcher, which tries again, is at work here.
      boost::asio::post(loop_, [this, error = saved.error()] { storage_failed(error, Postponed::Kind::own, {}); });
    }
    return saved;
  };
  ports.load = [this](const wire::BlobRef& blob, const SharedFd& file) {
    return storage_.read_chunks(blob.sha256, [&](std::uint32_t n, std::span<const std::byte> bytes) {
      return bytes.size() == blob::chunk_bytes(blob.size, n)
                 ? write_at(file->get(), std::uint64_t{n} * blob::chunk_size, bytes)
                 : Result<>(fail(ErrorKind::corrupt, "a saved chunk has {} bytes", bytes.size()));
    });
  };
  ports.progress = [this](const TaskId& id, std::uint32_t done, std::uint32_t total) {
    if (const EntryPtr entry = find(id)) {
      say("progress", wire::Progress{entry->state.task.ref, "fetching", done, total});
    }
  };
  ports.complete = [this](const TaskId& id, const SharedFd& file) {
    if (const EntryPtr entry = find(id)) {
      entry->work->blob = file;
      later(id, event::ChunksComplete{});
    }
  };
  return ports;
}

Uploader::Ports Agent::uploader_ports() {
  Uploader::Ports ports;
  ports.read = [this](const TaskId& task, std::uint32_t n) {
    auto chunk = storage_.read_update_chunk(task, n);
    if (!chunk) {  // on the loop: whoever reads is in the middle of something
      boost::asio::post(loop_, [this, error = chunk.error()] { storage_failed(error, Postponed::Kind::own, {}); });
    }
    return chunk;
  };
  ports.send = [this](const Digest& blob, std::uint32_t n, std::string bytes, mqtt::Done done) {
    link_->publish(link_->topics().device_chunk(identity_.device, blob, n), std::move(bytes), {},
                   [this, blob, done = std::move(done)](const Result<>& outcome) {
                     for (const EntryPtr& entry : entries_) {
                       if (entry->state.result && entry->state.result->update.sha256 == blob) {
                         entry->last_exchange = std::chrono::steady_clock::now();  // a slow link is not silence
                       }
                     }
                     done(outcome);
                   });
  };
  return ports;
}

}  // namespace flops::agent
