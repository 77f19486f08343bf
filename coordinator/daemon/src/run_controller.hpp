// Carries out what the run machine decides: sends tasks, receives updates, sums, makes models, records everything.
//
// One run is active at a time; others wait in order of their start. Loop thread only; heavy work goes to the Worker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "fleet.hpp"
#include "flops/aggregation/round_sum.hpp"
#include "flops/algorithms/algorithm.hpp"
#include "flops/coordinator/config.hpp"
#include "flops/registry/registry.hpp"
#include "flops/rounds/run_machine.hpp"
#include "flops/transfer/grants.hpp"
#include "health_board.hpp"
#include "link.hpp"
#include "publisher.hpp"
#include "records.hpp"
#include "worker.hpp"

namespace flops::coordinator {

// How often something from outside was refused, by code.
using RefusalCounts = std::map<std::string, std::uint64_t>;

class RunController {
 public:
  struct Parts {
    const Config& config;
    const Clock& clock;
    registry::Registry& registry;
    Fleet& fleet;
    Link& link;
    // Apart: of a single device, the update and the encoded mean are the same bytes.
    blob::FileStore& updates;
    blob::FileStore& downloads;
    aggregation::ModelFolder models;
    Publisher& publisher;
    Worker& worker;
    HealthBoard& health;
  };
  RunController(Parts parts, std::function<void()> changed);

  // Takes up the oldest run that is not over.
  void resume();

  [[nodiscard]] Result<RunId> start(const rounds::RunSpec& spec);
  // An error of the storage's: the run stops once that can be recorded.
  [[nodiscard]] Result<> stop(const RunId& run);
  [[nodiscard]] std::int64_t active_runs() const { return active_ ? 1 : 0; }

  void fleet_changed();
  void tick();
  void connected();  // the link is up: publish what is retained
  void device_lost(const DeviceId& device);
  void device_said_hello(const DeviceId& device);

  void on_ack(const DeviceId& device, const wire::Ack& ack);
  void on_metrics(const DeviceId& device, const wire::Metrics& metrics);
  void on_result(const DeviceId& device, const wire::ResultMessage& result);
  void on_chunk(const DeviceId& device, const Digest& blob, std::uint32_t n, std::string_view bytes);

  // Tells the sender, counts, and logs the first of each code and device.
  void refuse(const DeviceId& device, std::string_view about, std::string_view code, std::string_view reason);
  [[nodiscard]] const RefusalCounts& refusals() const { return refusals_; }

 private:
  struct Upload {
    enum class Stage {
      receiving,
      checking,  // with the worker, which makes it durable
      stored,    // the round's sum is being closed: it waits for the next one
      summing,   // with the worker
    };
    DeviceId device;
    wire::ResultMessage result;
    std::uint64_t number;  // tells it from another upload of the same task
    Stage stage = Stage::receiving;
    std::optional<blob::Staging> staging;  // while receiving
    SteadyTime last_chunk{};
  };
  // A model version that tasks name, and the blobs that bring it to devices.
  struct Version {
    Digest previous;                                      // the version before; none: unknown
    std::map<Digest, aggregation::EncodedModel> encoded;  // by base; none: complete
    std::set<Digest> encoding;                            // bases being encoded
  };
  // What one round, or the making of the first model, adds up.
  struct Active {
    rounds::RunState state;
    std::optional<tensor::Layout> layout;
    std::shared_ptr<const algorithms::Algorithm> algorithm;        // of the step from a round's mean
    std::shared_ptr<const algorithms::Algorithm> weighing;         // of what updates weigh
    Digest algorithm_state;                                        // of the model that the open round started from
    std::shared_ptr<std::unique_ptr<aggregation::RoundSum>> sum =  // the worker's
        std::make_shared<std::unique_ptr<aggregation::RoundSum>>();
    SteadyTime round_opened{};
    std::map<Digest, Version> versions;  // the newest, and older ones that late tasks still need
    std::map<TaskId, Upload> uploads;
    std::set<TaskId> acknowledged;
    std::set<DeviceId> evaluated;  // the newest model
  };

  [[nodiscard]] Result<> activate_next();
  [[nodiscard]] Result<std::unique_ptr<Active>> taken_up(const RunId& id);
  void next_run();
  void expect_participants();
  [[nodiscard]] std::set<DeviceId> available() const;
  void feed(const rounds::Event& event);
  void perform(const std::vector<rounds::Action>& actions);
  void perform(const rounds::SendTask& action);
  void perform(const rounds::CancelTask& action);
  void perform(const rounds::OpenRound& action);
  void perform(const rounds::CloseRound& action);
  void perform(const rounds::EvaluationClosed& action);
  void perform(const rounds::RunOver& action);
  void perform(const rounds::HandUp&) {}  // of clusters only
  void round_closed(std::int64_t round, const std::vector<rounds::Action>& actions);

  // Tasks and the blobs they need (tasks.cpp).
  void send_task(const DeviceId& device, bool complete_model);
  void send_open_tasks();
  void encode(const Digest& model, const Digest& base);
  void encoded(const Digest& model, const Digest& base, const aggregation::EncodedModel& blob);
  [[nodiscard]] Digest delta_base(const DeviceId& device, const Digest& model) const;
  void drop_old_versions();
  void drop_blobs(const std::set<Digest>& versions_kept);
  [[nodiscard]] wire::TaskRef reference(const rounds::Participant& participant) const;

  // Updates (updates.cpp).
  [[nodiscard]] const rounds::Participant* open_participant(const DeviceId& device, const wire::TaskRef& ref) const;
  [[nodiscard]] Upload* upload_of(const DeviceId& device, const Digest& blob);
  [[nodiscard]] std::string problem_of(const wire::ResultMessage& result, const rounds::Participant& participant,
                                       tensor::Layout& layout) const;
  void begin_upload(const DeviceId& device, const wire::ResultMessage& result);
  void answer_late(const DeviceId& device, const wire::ResultMessage& result);
  [[nodiscard]] static bool may_be_asked_again(const registry::RunRow& run, const DeviceId& device,
                                               const wire::TaskRef& ref);
  void send_grants();
  void finish_upload(const TaskId& task);
  void discard_uploads();
  void reject(const DeviceId& device, const wire::ResultMessage& result, const std::string& reason);
  void receipt(const DeviceId& device, const wire::TaskRef& ref, const Digest& blob, wire::ReceiptStatus status,
               std::string_view reason = {});

  // Sums (sums.cpp).
  [[nodiscard]] bool is_current(const TaskId& task, std::uint64_t number) const;
  [[nodiscard]] std::uint64_t weight_of(const algorithms::Contribution& work, std::int64_t base_round) const;
  void ingest(const TaskId& task);
  void ingest_waiting();
  void ingested(const TaskId& task, Result<> outcome);
  void ingest_initial(const TaskId& task);
  void initial_stored(const TaskId& task, const tensor::Layout& layout, const Result<aggregation::NewModel>& stored);
  void sum_again();
  void sweep_updates();
  void sweep_states();
  [[nodiscard]] Result<> new_model(std::int64_t round, const aggregation::NewModel& model,
                                   const tensor::Layout& layout);
  void round_in_trouble(const Error& error, std::string_view doing);
  void take_up_again();
  void publish_status();

  // Recording, also when the storage is in trouble (recording.cpp).
  void save(const rounds::RunState& before);
  void record(std::string key, std::string_view doing, Records::Step step);
  void record_round(std::int64_t round, std::string_view state);
  void storage_in_trouble(const Error& error);
  void look_at_storage();
  [[nodiscard]] Result<> probe_storage();
  void perform_held();

  Parts parts_;
  std::function<void()> changed_;
  std::unique_ptr<Active> active_;
  std::uint64_t generation_ = 0;  // of the active run and its sum: late answers of the worker are recognised
  std::uint64_t uploads_begun_ = 0;
  bool sweep_due_ = true;
  bool states_sweep_due_ = true;
  int closing_ = 0;              // rounds, with the worker: their states are not recorded yet
  bool next_due_ = false;        // which run is next could not be read
  std::string next_problem_;     // why
  std::set<DeviceId> expected_;  // back soon after the coordinator's restart
  SteadyTime expected_until_{};
  std::optional<SteadyTime> take_up_at_;  // the active run's round, after trouble of the coordinator's own
  Records records_;
  bool tasks_held_ = false;           // some were to be sent while the state was not recorded
  std::vector<rounds::Action> held_;  // of the active run, until its state is recorded
  std::optional<SteadyTime> storage_probe_at_;
  transfer::Grants grants_;
  RefusalCounts refusals_;
  std::pair<DeviceId, Digest> last_late_chunk_;
  std::set<std::pair<DeviceId, std::string>> refusals_logged_;
};

}  // namespace flops::coordinator
