// Carries out what the run's tree of machines decides: sends tasks, receives updates, sums, makes models, records
// everything. A node of the tree is the top (no cluster), or a cluster; a flat run has only the top.
//
// One run is active at a time; others wait in order of their start. Loop thread only; heavy work goes to the Worker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster_view.hpp"
#include "fleet.hpp"
#include "flops/aggregation/round_sum.hpp"
#include "flops/algorithms/algorithm.hpp"
#include "flops/coordinator/config.hpp"
#include "flops/registry/registry.hpp"
#include "flops/rounds/tree.hpp"
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
  [[nodiscard]] Result<RunId> start(const rounds::RunSpec& spec, const registry::ProjectRow& project,
                                    const registry::RunSource& source);
  // A part that another coordinator asked for; `layout` of its base, none when it has none (parts.cpp).
  [[nodiscard]] Result<RunId> start(const rounds::PartRequest& request, const std::optional<tensor::Layout>& layout);
  // Stops it when it works, and removes its results. An error of the storage's: to be asked for again.
  [[nodiscard]] Result<> forget(const registry::AskedPart& part);
  // Where the sum of a part lies when it is finished and gives one.
  [[nodiscard]] std::filesystem::path sum_file(const RunId& run) const;
  // An error of the storage's: the run stops once that can be recorded.
  [[nodiscard]] Result<> stop(const RunId& run);
  // A paused run gives no tasks, those it gave are taken back, and the next run begins; what devices have delivered
  // stays, and counts when it goes on. An error of the storage's: to be asked for again. Nothing of a run that is over.
  [[nodiscard]] Result<> pause(const RunId& run, bool paused);
  [[nodiscard]] std::int64_t active_runs() const { return active_ ? 1 : 0; }

  // The tree of the active run; nullptr: there is none.
  [[nodiscard]] const rounds::Tree* tree() const { return active_ ? &active_->tree : nullptr; }

  void fleet_changed();
  void tick();
  void connected();  // the link is up: publish what is retained
  void device_lost(const DeviceId& device);
  // It gets no work any more, and what it has not finished does not count: its task is taken back and fails.
  void exclude(const DeviceId& device, std::string_view reason);
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
    rounds::ClusterId node;  // whose round it is for
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
  using ClusterId = rounds::ClusterId;
  // What belongs to one node of the tree: its open round.
  struct Node {
    std::shared_ptr<std::unique_ptr<aggregation::RoundSum>> sum =  // the worker's
        std::make_shared<std::unique_ptr<aggregation::RoundSum>>();
    std::uint64_t generation = 0;  // of the sum: late answers of the worker are recognised
    std::uint64_t handed_to = 0;   // the generation of the top's sum that has, or soon has, what this cluster hands up
    bool handed_up = false;        // it is recorded there
    SteadyTime round_opened{};
    Digest algorithm_state;        // of the model that the round started from
    std::set<DeviceId> evaluated;  // what their tasks started from
  };
  struct Active {
    rounds::Tree tree;
    std::optional<tensor::Layout> layout;
    std::shared_ptr<const algorithms::Algorithm> algorithm;  // of the devices, and the step from their round's mean
    std::shared_ptr<const algorithms::Algorithm> weighing;   // of what updates weigh
    std::shared_ptr<const algorithms::Algorithm> global;     // of the step from a cycle's mean
    std::map<ClusterId, Node> nodes;
    std::map<DeviceId, ClusterId> cluster_of;  // for this cycle; not those that are in none
    std::map<Digest, Version> versions;        // those that are started from, also by late tasks
    std::map<TaskId, Upload> uploads;
    std::set<TaskId> acknowledged;
    bool sum_wanted = false;  // of a part: that of its only round

    [[nodiscard]] const RunId& id() const { return tree.top.id; }
    [[nodiscard]] const rounds::RunSpec& spec() const { return tree.spec; }
    // Of the step that a node takes.
    [[nodiscard]] const std::shared_ptr<const algorithms::Algorithm>& step_of(const ClusterId& node) const {
      return node.empty() && (!tree.flat() || tree.of_sites()) ? global : algorithm;
    }
    // Of its participants, when it is flat; of the devices in its clusters otherwise.
    [[nodiscard]] wire::Role role() const { return tree.of_sites() ? wire::Role::cluster : wire::Role::device; }
  };
  // A device's place in the tree.
  struct Seat {
    ClusterId node;
    rounds::RunState* state = nullptr;           // none: its cluster is not at work
    rounds::Participant* participant = nullptr;  // none: it has no task
  };

  [[nodiscard]] Result<> activate_next();
  [[nodiscard]] Result<std::unique_ptr<Active>> taken_up(const RunId& id);
  void next_run();
  void put_aside();
  void let_go();
  [[nodiscard]] Result<bool> wants_sum(const RunId& run, const std::string& origin);
  [[nodiscard]] std::chrono::seconds return_within() const;
  [[nodiscard]] SteadyTime devices_there_by(const rounds::RunState& part) const;
  [[nodiscard]] Result<> expect_participants(Active& run);
  void expect_nobody();
  void look_at_goal();
  [[nodiscard]] bool is_given_again(const ClusterId& node, const rounds::CancelTask& cancelled);
  void drop_open_round(const rounds::Tree& before);
  void feed(const ClusterId& node, const rounds::Event& event);
  // `step` moves the tree on; its actions are carried out when the new state is recorded.
  void advance(const std::function<std::vector<rounds::NodeAction>()>& step);
  void count_dropped(const rounds::Tree& before, const std::vector<rounds::NodeAction>& actions);
  void end_parts(const rounds::Tree& before);
  void perform(const std::vector<rounds::NodeAction>& actions);
  void perform(const ClusterId& node, const rounds::SendTask& action);
  void perform(const ClusterId& node, const rounds::CancelTask& action);
  void perform(const ClusterId& node, const rounds::OpenRound& action);
  void perform(const ClusterId& node, const rounds::CloseRound& action);
  void perform(const ClusterId& node, const rounds::EvaluationClosed& action);
  void perform(const ClusterId& node, const rounds::RunOver& action);
  void perform(const ClusterId& node, const rounds::HandUp& action);
  void pause_stalled_uploads();

  // Who is where (seats.cpp).
  [[nodiscard]] Seat seat_of(const DeviceId& device);
  [[nodiscard]] std::map<ClusterId, std::set<DeviceId>> grouped();
  void regroup();

  // Tasks and the blobs they need (tasks.cpp).
  void send_task(const DeviceId& device, bool complete_model);
  void send_open_tasks();
  void encode(const Digest& model, const Digest& base);
  void encoded(const Digest& model, const Digest& base, const aggregation::EncodedModel& blob);
  [[nodiscard]] Digest delta_base(const DeviceId& device, const Digest& model) const;
  void for_each_participant(const std::function<void(const DeviceId&, const rounds::Participant&)>& visit) const;
  void drop_old_versions();
  void drop_blobs(const std::set<Digest>& versions_kept);
  [[nodiscard]] wire::TaskRef reference(const TaskId& task, std::int64_t round) const;

  // What devices measured (metrics.cpp).
  // Whose model, of which of its rounds.
  struct Measured {
    ClusterId node;
    std::int64_t round = 0;
  };
  [[nodiscard]] bool is_late(const Seat& seat) const;
  [[nodiscard]] Measured measured_by(const Seat& seat) const;
  void record_metrics(const DeviceId& device, const Seat& seat, const wire::Metrics& metrics);
  [[nodiscard]] bool all_have_measured(const Measured& measured) const;

  // Updates (updates.cpp).
  [[nodiscard]] Seat open_seat(const DeviceId& device, const wire::TaskRef& ref);
  [[nodiscard]] Upload* upload_of(const DeviceId& device, const Digest& blob);
  [[nodiscard]] std::string problem_of(const wire::ResultMessage& result, const rounds::Participant& participant,
                                       tensor::Layout& layout) const;
  void begin_upload(const DeviceId& device, const ClusterId& node, const wire::ResultMessage& result);
  void answer_late(const DeviceId& device, const wire::ResultMessage& result);
  [[nodiscard]] bool may_be_asked_again(const registry::RunRow& run, const DeviceId& device, const wire::TaskRef& ref);
  void send_grants();
  void finish_upload(const TaskId& task);
  void discard_uploads();
  void reject(const DeviceId& device, const ClusterId& node, const wire::ResultMessage& result,
              const std::string& reason);
  void receipt(const DeviceId& device, const wire::TaskRef& ref, const Digest& blob, wire::ReceiptStatus status,
               std::string_view reason = {});

  // Updates into sums (sums.cpp).
  [[nodiscard]] bool is_current(const TaskId& task, std::uint64_t number) const;
  // The node's sum is still the one of that generation.
  [[nodiscard]] bool is_open(const ClusterId& node, std::uint64_t generation) const;
  void ingest(const TaskId& task);
  void ingest_waiting(const ClusterId& node);
  void ingested(const TaskId& task, Result<> outcome);
  void ingest_initial(const TaskId& task);
  void initial_stored(const TaskId& task, const tensor::Layout& layout, const Result<aggregation::NewModel>& stored);
  void sum_again(const ClusterId& node);

  // Rounds: a sum from what is stored, a model from the sum (node_rounds.cpp).
  struct Summand {
    aggregation::StoredUpdate update;
    algorithms::Contribution work;
    std::uint64_t weight = 0;
    DeviceId device;
    Digest blob;
  };
  struct Closed {
    aggregation::NewModel model;
    std::optional<aggregation::EncodedModel> delta;  // none: no device is given the model
  };
  struct Closing {                                           // how the sum of a round is closed
    std::shared_ptr<const algorithms::Algorithm> algorithm;  // none: into the mean
    Digest algorithm_state;
    std::uint64_t population = 0;
    std::filesystem::path sum_file;  // where it is kept too; none: it is not
    bool encode = true;              // for the next round
  };
  Node& new_sum(const ClusterId& node);
  [[nodiscard]] Result<std::vector<Summand>> summands(std::int64_t round, const ClusterId& cluster);
  [[nodiscard]] static Result<> add_stored(blob::FileStore& updates, aggregation::RoundSum& sum,
                                           const std::vector<Summand>& summands);  // the worker's
  [[nodiscard]] std::uint64_t weight_of(const algorithms::Contribution& work, std::int64_t staleness) const;
  [[nodiscard]] Closing closing_of(const ClusterId& node, const rounds::RunState& state);
  [[nodiscard]] static Result<Closed> close(const aggregation::ModelFolder& models, blob::FileStore& downloads,
                                            std::unique_ptr<aggregation::RoundSum>& sum, const Digest& base,
                                            const Closing& how);  // the worker's
  void open_top();
  void round_closed(const ClusterId& node, std::int64_t round, const Result<Closed>& closed);
  [[nodiscard]] Result<> new_model(const ClusterId& node, std::int64_t round, const aggregation::NewModel& model,
                                   const tensor::Layout& layout);
  void round_in_trouble(const ClusterId& node, const Error& error, std::string_view doing);
  void take_up_again();

  // What clusters give to the top (hand_up.cpp).
  struct ClusterResult {
    registry::HandedUpRow row;
    std::uint64_t weight = 0;       // of its model
    std::vector<Summand> summands;  // instead of a model
  };
  [[nodiscard]] Result<std::vector<ClusterResult>> handed_up(std::int64_t cycle);
  void hand_up(const ClusterId& cluster);
  void hand_up_waiting();
  [[nodiscard]] Result<registry::HandedUpRow> result_of(const ClusterId& cluster);
  void handed_up(const ClusterId& cluster, registry::HandedUpRow row, const Result<aggregation::NewModel>& added);
  [[nodiscard]] Result<> new_late_model(const registry::HandedUpRow& row, const aggregation::NewModel& model);
  [[nodiscard]] std::uint64_t weight_of(const registry::HandedUpRow& row, std::int64_t cycle) const;

  // What is not needed any more (sweeping.cpp).
  void sweep_updates();
  [[nodiscard]] Result<std::vector<rounds::Tree>> unfinished();
  [[nodiscard]] Result<std::set<Digest>> needed_updates();
  [[nodiscard]] Result<std::set<Digest>> updates_of(const rounds::Tree& tree);
  void sweep_states();
  [[nodiscard]] Result<std::set<Digest>> needed_states();
  void sweep_forgotten();
  [[nodiscard]] Result<> remove_results(const RunId& forgotten);
  void remove_unrecorded(const Digest& model);

  // State topics (status.cpp).
  void publish_status();
  void publish_cluster(const ClusterId& cluster);
  void publish_clusters();
  void publish_changes(const rounds::Tree& before);

  // Recording, also when the storage is in trouble (recording.cpp).
  void save(const rounds::Tree& before);
  void record(std::string key, std::string_view doing, Records::Step step);
  void record_round(const ClusterId& node, std::int64_t round, std::string_view state);
  void storage_in_trouble(const Error& error);
  void look_at_storage();
  [[nodiscard]] Result<> probe_storage();
  void perform_held();

  Parts parts_;
  std::function<void()> changed_;
  const SteadyTime started_;
  std::unique_ptr<Active> active_;
  std::uint64_t sums_opened_ = 0;
  std::uint64_t uploads_begun_ = 0;
  bool sweep_due_ = true;
  bool states_sweep_due_ = true;
  bool forgotten_sweep_due_ = true;
  int closing_ = 0;              // rounds, with the worker: their states are not recorded yet
  bool goal_due_ = false;        // a model was measured since the run's goal was looked at
  bool next_due_ = false;        // which run is next could not be read
  std::string next_problem_;     // why
  std::set<DeviceId> expected_;  // back soon after the coordinator's restart
  SteadyTime expected_until_{};
  std::optional<SteadyTime> take_up_at_;  // the active run's round, after trouble of the coordinator's own
  Records records_;
  std::set<ClusterId> unsaved_;           // nodes whose states wait to be recorded
  bool tasks_held_ = false;               // some were to be sent while the state was not recorded
  std::vector<rounds::NodeAction> held_;  // of the active run, until its state is recorded
  std::optional<SteadyTime> storage_probe_at_;
  transfer::Grants grants_;
  RefusalCounts refusals_;
  std::pair<DeviceId, Digest> last_late_chunk_;
  std::set<std::pair<DeviceId, std::string>> refusals_logged_;
};

}  // namespace flops::coordinator
