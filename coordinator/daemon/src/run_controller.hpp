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
#include "flops/coordinator/config.hpp"
#include "flops/registry/registry.hpp"
#include "flops/rounds/run_machine.hpp"
#include "flops/transfer/grants.hpp"
#include "link.hpp"
#include "publisher.hpp"
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
  };
  RunController(Parts parts, std::function<void()> changed);

  // Takes up the oldest run that is not over.
  [[nodiscard]] Result<> resume();

  [[nodiscard]] Result<RunId> start(const rounds::RunSpec& spec);
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
    DeviceId device;
    wire::ResultMessage result;
    std::optional<blob::Staging> staging;  // none while the worker has it
    SteadyTime last_chunk{};
  };
  // What one round, or the making of the first model, adds up.
  struct Active {
    rounds::RunState state;
    std::optional<tensor::Layout> layout;
    Digest previous;  // the version before state.model; none in the first round
    std::shared_ptr<std::unique_ptr<aggregation::RoundSum>> sum;  // the worker's
    SteadyTime round_opened{};
    std::map<Digest, aggregation::EncodedModel> encoded;  // blobs of state.model, by base
    std::set<Digest> encoding;                            // bases being encoded
    std::map<TaskId, Upload> uploads;
    std::set<DeviceId> acknowledged;
    std::set<DeviceId> evaluated;
  };

  void activate_next();
  void feed(const rounds::Event& event);
  void save(const rounds::RunState& before, const rounds::Event& event);
  void perform(const std::vector<rounds::Action>& actions);
  void perform(const rounds::SendTask& action);
  void perform(const rounds::CancelTask& action);
  void perform(const rounds::OpenRound& action);
  void perform(const rounds::CloseRound& action);
  void perform(const rounds::EvaluationClosed& action);
  void perform(const rounds::RunOver& action);

  // Tasks and the blobs they need (tasks.cpp).
  void send_task(const DeviceId& device, bool complete_model);
  void encode(const Digest& base);
  void drop_blobs();
  [[nodiscard]] wire::TaskRef reference(const rounds::Participant& participant) const;

  // Updates (updates.cpp).
  [[nodiscard]] const rounds::Participant* open_participant(const DeviceId& device, const wire::TaskRef& ref) const;
  [[nodiscard]] Upload* upload_of(const DeviceId& device, const Digest& blob);
  [[nodiscard]] std::string problem_of(const wire::ResultMessage& result, const rounds::Participant& participant,
                                       tensor::Layout& layout) const;
  void begin_upload(const DeviceId& device, const wire::ResultMessage& result);
  void answer_late(const DeviceId& device, const wire::ResultMessage& result);
  void send_grants();
  void finish_upload(const TaskId& task);
  void ingest(const TaskId& task);
  void ingested(const TaskId& task, Result<> outcome);
  void ingest_initial(const TaskId& task);
  void discard_uploads();
  void sum_again();
  void sweep_updates();
  void reject(const DeviceId& device, const wire::ResultMessage& result, const std::string& reason);
  void receipt(const DeviceId& device, const wire::TaskRef& ref, const Digest& blob, wire::ReceiptStatus status,
               std::string_view reason = {});
  void new_model(std::int64_t round, const aggregation::NewModel& model, const tensor::Layout& layout);
  void publish_status();

  Parts parts_;
  std::function<void()> changed_;
  std::unique_ptr<Active> active_;
  std::uint64_t generation_ = 0;  // of the active run and round: late answers of the worker are recognised
  bool sweep_due_ = true;
  transfer::Grants grants_;
  RefusalCounts refusals_;
  std::pair<DeviceId, Digest> last_late_chunk_;
  std::set<std::pair<DeviceId, std::string>> refusals_logged_;
};

}  // namespace flops::coordinator
