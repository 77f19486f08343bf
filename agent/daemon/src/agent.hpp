// The agent's shell. It decides nothing about tasks: the task machine does (agent_task). It turns what happens into
// events, persists the next state with its data in one transaction, and carries the actions out. Loop's thread only;
// heavy steps go to the worker, training to the trainer's process.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "fetcher.hpp"
#include "flops/agent_config/config.hpp"
#include "flops/agent_daemon/inventory.hpp"
#include "flops/agent_enrol/enrol.hpp"
#include "flops/agent_governor/probes.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/agent_task/task_machine.hpp"
#include "flops/core/error.hpp"
#include "flops/health/conditions.hpp"
#include "flops/service/manager.hpp"
#include "flops/trainer/trainer.hpp"
#include "governor_watch.hpp"
#include "link.hpp"
#include "model_work.hpp"
#include "postponed.hpp"
#include "site_watch.hpp"
#include "state_sequence.hpp"
#include "uploader.hpp"
#include "worker.hpp"

namespace flops::agent {

// Conditions (docs/protocol.md, "Health").
inline constexpr std::string_view clock_condition = "clock";
inline constexpr std::string_view storage_condition = "storage";
inline constexpr std::string_view room_condition = "room";
inline constexpr std::string_view site_condition = "site";
inline constexpr std::string_view identity_condition = "identity";
inline constexpr std::string_view quarantined_condition = "quarantined";

class Agent {
 public:
  Agent(boost::asio::io_context& loop, const Config& config, const Identity& identity, Storage storage);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Takes up what the database holds and connects.
  [[nodiscard]] Result<> start();
  // Says goodbye and stops the trainer; the loop ends within seconds.
  void stop();
  // The configuration file was changed; what can be taken while the agent runs is, the rest at its next start.
  void reload(const Config& config);
  // Why the loop ended, when it was not stop().
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }

 private:
  // What a task at work holds in memory. Given up as a whole when the task ends: what still comes back for it then
  // finds `abandoned`.
  struct Work {
    bool abandoned = false;
    SharedFd blob;                         // the fetched bytes of the base model
    SharedFd delta_base;                   // of `blob`, loaded while that was fetched
    SharedFd base;                         // raw float32 of the base model
    SharedFd kept;                         // raw float32 of what earlier local rounds gave
    SharedFd result;                       // what the trainer wrote
    SharedFd checkpoint;                   // of the training
    SharedFd sum;                          // of a site: its exact sum
    std::uint64_t sum_bytes = 0;           // 0: there is none
    SharedFd variates;                     // the device's control variate and the new one (trainer/job.hpp)
    std::optional<trainer::Place> resume;  // the newest whole one in there
    bool only_in_memory = false;           // that one
    std::chrono::steady_clock::time_point last_on_disk{};
    Outcome outcome;
    std::string phase;                         // as the trainer says: evaluating, training
    std::optional<std::uint64_t> site_rounds;  // that the site had done, when the worker first said so
    std::chrono::steady_clock::time_point last_progress{};
  };
  struct Entry {
    TaskState state;
    std::shared_ptr<Work> work = std::make_shared<Work>();
    std::chrono::steady_clock::time_point not_before{};  // a failed attempt waits
    std::chrono::steady_clock::time_point last_exchange{};
    [[nodiscard]] const TaskId& id() const { return state.task.ref.task; }
  };
  using EntryPtr = std::shared_ptr<Entry>;
  using Persist = std::function<Result<>()>;

  // messages (agent_messages.cpp)
  void on_link_up();
  void on_link_down();
  void on_link_failed(const Error& error);
  void greet();
  void say_hello();
  void on_message(mqtt::Message message);
  void on_command(const std::string& kind, const std::string& payload);
  [[nodiscard]] bool on_life_command(const std::string& kind, const std::string& payload);
  template <class Message>
  std::optional<Message> decode(const std::string& kind, const std::string& payload);
  void count_bad(const std::string& kind, std::string_view reason);
  void on_task(const wire::Task& task);
  void on_coordinator_status(const mqtt::Message& message);
  void remember_reconnect_window();
  void recall_reconnect_window();
  [[nodiscard]] std::string problem_with(const wire::Task& task) const;
  [[nodiscard]] std::string problem_with_model(const wire::Task& task) const;
  template <class Message>
  void say(std::string_view kind, const Message& message, mqtt::Done done = {});

  // tasks (agent_tasks.cpp)
  void dispatch(const TaskId& id, const Event& event, const Persist& with = {});
  [[nodiscard]] Result<> persist(const TaskState& before, const Step& step, const Persist& with);
  [[nodiscard]] Result<> drop_blob_of(const TaskState& state);
  [[nodiscard]] Result<> drop_contents_of(const TaskId& id);
  void later(const TaskId& id, Event event);
  void ask_again();
  void tidy_storage();
  [[nodiscard]] Result<> drop_tasks_without_update(std::vector<TaskState>& tasks);
  void tidy();
  void tidy_soon();
  void carry_out(const EntryPtr& entry, const Action& action);
  void stop_work(Entry& entry);
  void remove_ended();
  [[nodiscard]] bool may_train() const;
  void schedule();
  void schedule_soon();
  [[nodiscard]] bool has_task_in(std::initializer_list<Phase> phases) const;
  void watch_conditions();
  void conditions_changed(const Verdict& verdict);
  [[nodiscard]] EntryPtr find(const TaskId& id) const;
  [[nodiscard]] std::vector<TaskId> task_ids() const;
  [[nodiscard]] std::vector<const TaskState*> open_states() const;
  [[nodiscard]] std::vector<Digest> models_in_use() const;

  // steps (agent_work.cpp, agent_training.cpp, agent_variates.cpp)
  void begin_fetch(Entry& entry);
  void begin_assemble(const EntryPtr& entry);
  void assembled(const TaskId& id, const Assembled& outcome);
  void keep_model(const TaskState& of, const SharedFd& model);
  void begin_training(const EntryPtr& entry);
  // What the task trains from and makes its update against, read and verified; then goes on, if there is a task still.
  void with_models(const EntryPtr& entry, std::function<void()> then);
  void check_model(const EntryPtr& entry, const Digest& model, const SharedFd& file, std::function<void()> then);
  void model_missing(const EntryPtr& entry, const Digest& model, const Error& error);
  void start_trainer(const EntryPtr& entry);
  [[nodiscard]] Result<trainer::Job> job_for(const TaskState& state) const;
  [[nodiscard]] trainer::JobCallbacks callbacks_for(const TaskId& id, const std::shared_ptr<Work>& work);
  [[nodiscard]] Result<> prepare_checkpoint(const EntryPtr& entry);
  [[nodiscard]] Result<> prepare_variates(const EntryPtr& entry);
  [[nodiscard]] Result<> read_variate_into(const RunId& run, int file, std::uint64_t bytes);
  [[nodiscard]] Result<> record_update(const wire::Task& task, const EncodedUpdate& update, const SharedFd& variates);
  [[nodiscard]] Result<> adopt_variate(const wire::TaskRef& ref);
  void checkpointed(const TaskId& id, const std::shared_ptr<Work>& work, const trainer::CheckpointNote& note);
  void keep_checkpoint(const TaskId& id, const std::shared_ptr<Work>& work);
  void keep_checkpoints();
  void evaluated(const TaskId& id, const trainer::Evaluation& evaluation);
  void trained(const TaskId& id, const std::shared_ptr<Work>& work, Result<trainer::JobReport> report);
  [[nodiscard]] int offline_rounds(const TaskState& state) const;
  void trained_offline(const EntryPtr& entry);
  void keep_round(Entry& entry);
  void begin_encode(const EntryPtr& entry);
  void encode(const EntryPtr& entry);
  void load_delta_base(Entry& entry);
  [[nodiscard]] Result<SharedFd> load_model(const Digest& model, std::uint64_t bytes);

  // the uplink of a site (agent_site.cpp)
  void start_site_watch();
  void site_heard(Result<std::vector<wire::Dataset>> answer);
  [[nodiscard]] std::string problem_with_part(const wire::Task& task) const;
  [[nodiscard]] trainer::Part part_of(const TaskState& state) const;
  void site_progress(const TaskId& id, Work& work, const trainer::Progress& progress);
  [[nodiscard]] static Result<> prepare_sum(Work& work, bool wanted);

  // place in the fleet (agent_life.cpp)
  void read_certificate_life();
  void watch_certificate();
  void on_certificate(const wire::Certificate& message);
  void renew_expired_certificate();
  void renewed_expired(const Result<>& renewed);
  void on_notice(const wire::Notice& notice);
  void recall_configuration();
  void on_configuration(const wire::Configuration& wanted);
  void apply_configuration();
  void on_report_request(const wire::ReportRequest& request);
  void report(const std::string& request, std::string text);

  // health (agent_health.cpp)
  [[nodiscard]] std::int64_t newest_time_seen();
  void remember_time();
  void storage_failed(const Error& error, Postponed::Kind kind, Postponed::Step again,
                      std::optional<TaskId> of = std::nullopt);
  void arrival_failed(const Error& error, const wire::Task& task);
  void storage_in_trouble(const Error& error);
  [[nodiscard]] bool storage_broken(const Error& error);
  void probe_storage_later();
  void probe_storage();
  [[nodiscard]] std::uint64_t room();
  [[nodiscard]] bool has_room_for(const wire::Task& task);
  void forget_arrival(const TaskId& task);
  void raise(std::string_view name, std::string_view text);
  void clear(std::string_view name);

  // presence (agent.cpp)
  void survey_datasets();
  void set_datasets(std::vector<wire::Dataset> datasets);
  [[nodiscard]] wire::DeviceState device_state() const;
  void publish_state_if_changed();
  void tell_service_manager(const wire::DeviceState& state);
  void state_changed_soon();
  void tick();
  void stopped_part();
  void end();

  [[nodiscard]] Fetcher::Ports fetcher_ports();
  [[nodiscard]] Uploader::Ports uploader_ports();

  boost::asio::io_context& loop_;
  Config file_config_;
  Config config_;  // with what the operator wants
  const Identity identity_;
  Storage storage_;
  const std::string session_;
  const Machine machine_;
  Sensors sensors_;
  std::vector<wire::Dataset> datasets_;
  std::map<std::string, std::string> dataset_problems_;  // by tag; said once

  std::vector<EntryPtr> entries_;  // in order of arrival
  std::map<std::string, std::uint64_t> bad_messages_;
  std::optional<wire::DeviceState> published_;  // without its sequence
  StateSequence state_sequence_;
  std::optional<wire::CoordinatorStatus> coordinator_;
  std::int64_t remembered_window_ = 0;  // seconds, as stored
  bool state_pending_ = false;
  bool schedule_pending_ = false;
  std::uint64_t written_before_ = 0;  // bytes to the disk, when the last task ended
  std::uint64_t written_last_task_ = 0;
  bool tidy_pending_ = false;
  bool checking_base_ = false;
  bool freeing_trainer_ = false;
  bool stopping_ = false;
  int parts_to_stop_ = 0;
  Postponed postponed_;
  std::map<TaskId, wire::Task> waiting_for_room_;  // not taken yet
  bool probing_storage_ = false;
  bool storage_failed_again_ = false;  // while what was postponed is done
  wire::Configuration wanted_;
  bool diagnosing_ = false;
  std::string wanted_problem_;
  CertificateLife certificate_life_;
  static constexpr auto long_ago = std::chrono::steady_clock::time_point::min() + std::chrono::hours(1);
  std::chrono::steady_clock::time_point renewal_asked_{long_ago};
  bool renewing_expired_ = false;
  std::string renewal_problem_;
  health::Conditions health_;
  std::int64_t time_remembered_ = 0;  // as it is stored
  std::optional<Error> failure_;

  service::Manager manager_;
  boost::asio::steady_timer tick_timer_;
  boost::asio::steady_timer schedule_timer_;
  boost::asio::steady_timer tidy_timer_;
  boost::asio::steady_timer answer_timer_;
  boost::asio::steady_timer probe_timer_;
  boost::asio::steady_timer stop_timer_;
  trainer::ProcessTrainer trainer_;
  SystemProbes probes_;
  GovernorWatch governor_;
  std::optional<SiteWatch> site_watch_;
  Fetcher fetcher_;
  Uploader uploader_;
  std::unique_ptr<Link> link_;
  Worker worker_;  // last: joined first, so that no job outlives what it uses
};

}  // namespace flops::agent
