// The coordinator's records, in one SQLite file. Every public function is one transaction; what is durable when is said
// at the class. Errors are those of store::Database. Belongs to the loop's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/clock.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/registry/devices.hpp"
#include "flops/rounds/part_request.hpp"
#include "flops/rounds/tree.hpp"
#include "flops/store/database.hpp"
#include "flops/wire/messages.hpp"

namespace flops::registry {

// A round of the devices of a flat run or of a cluster; or a cycle, whose participants are clusters.
struct RoundRow {
  std::int64_t round = 0;
  rounds::ClusterId cluster;  // none: of a flat run, or a cycle
  std::string
      state;  // fitting | aggregating | evaluating | done | cancelled (by the level above, or the goal is reached)
  std::int64_t participants = 0;
  std::int64_t late = 0;  // of the participants: with an update for an earlier round
  // How often all participants together went through their training; more than participants: some trained on offline.
  std::int64_t local_rounds = 0;
  std::int64_t rejected = 0;
  std::int64_t dropped = 0;  // tasks that were cancelled without an answer when the round closed
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  double seconds = 0;  // from opening to the durable model
  double train_seconds_max = 0;
  std::optional<double> train_loss;
  Digest model;
  // Of the aggregated model, weighted by samples; none before the first evaluation.
  std::uint64_t evaluated_samples = 0;
  std::int64_t evaluated_devices = 0;
  std::optional<double> accuracy, loss, accuracy_min, accuracy_max;
};

struct ProjectRow {
  std::string name;
  std::string owner;  // the name of the API token that submitted it first
  std::string description;
  std::vector<std::string> tags;  // without line breaks
  std::int64_t created_at = 0;
};

// Where the manifest of a run came from.
struct RunSource {
  std::string place;   // folder or address, without secrets
  std::string commit;  // empty: a folder
  Digest manifest;     // of what is trained (flops/manifest/manifest.hpp)
};

struct RunRow {
  rounds::RunState state;                               // of the top of its tree, with the run's own spec
  std::map<rounds::ClusterId, rounds::RunState> parts;  // clusters at work
  std::int64_t revision = 0;                            // grows with every change
  std::int64_t created_at = 0;
  std::int64_t finished_at = 0;  // 0: not yet
  std::uint64_t parameters = 0;
  std::string layout;   // canonical; empty before there is a model
  std::string origin;   // key of the part that another coordinator asked for; empty: it was asked for here
  std::string project;  // empty: of none
  RunSource source;
  bool paused = false;
};

// A part that another coordinator asked for, and has not asked to forget.
struct AskedPart {
  TaskId key;
  RunId run;
  Digest base;       // none: it makes the first model
  bool sum = false;  // its exact sum is wanted

  bool operator==(const AskedPart&) const = default;
};

// How good one model is on all devices that measured it.
struct ModelFigures {
  std::int64_t devices = 0;  // 0: nobody did, and the rest says nothing
  std::uint64_t samples = 0;
  double accuracy = 0, loss = 0, accuracy_min = 0, accuracy_max = 0;
};

// One device's, or one site's, accepted update in one round.
struct ContributionRow {
  DeviceId device;
  TaskId task;
  Digest blob;
  std::uint64_t bytes = 0;
  std::uint32_t weight = 0;
  double train_loss = 0;
  double train_seconds = 0;
  std::int64_t base_round = 0;  // of its task; smaller than the round it counts in: it was late
  Digest base = {};             // the model it was made from; none: the round's
  std::int64_t local_rounds = 1;
  std::uint64_t steps = 0;  // of the optimiser; 0: unknown
  std::string codec = wire::lossless_codec;
};

struct ModelRow {
  Digest digest;
  RunId run;
  std::int64_t round = 0;
  Digest layout;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;  // of the safetensors file
  std::int64_t created_at = 0;
  rounds::ClusterId cluster = {};  // whose own it is; none: the run's
};

// What a cluster handed up, in the cycle in which it counts.
struct HandedUpRow {
  rounds::ClusterId cluster;
  TaskId task;                  // of the cluster, as a participant of the top
  std::int64_t base_cycle = 0;  // of its task; smaller than the cycle it counts in: it was late
  std::int64_t round = 0;       // of the cluster's rounds the last one
  Digest model;                 // none: the sum of that round
  Digest base;                  // the global model that the cluster began with
  std::uint64_t samples = 0;    // of the devices in that round
  std::uint64_t steps = 0;      // of their optimisers, the mean weighted by samples; 0: unknown
};

// How good the model of a cycle is on the devices of one cluster.
struct ClusterFigures {
  std::int64_t cycle = 0;
  rounds::ClusterId cluster;
  std::uint64_t samples = 0;
  double accuracy = 0, loss = 0, accuracy_min = 0, accuracy_max = 0;
  std::int64_t devices = 0;
};

// What others rely on (tokens, devices, runs, models) is on the disk when a function returns. The steps of a round
// (rounds, participants, contributions, metrics, when a device was seen) are with the next of those or after sync(); a
// power cut takes back the latest of them, never one in the middle.
class Registry {
 public:
  [[nodiscard]] static Result<Registry> open(const std::filesystem::path& file, const Clock& clock,
                                             const store::OpenOptions& options = {});

  // Returns when every step so far is on the disk.
  [[nodiscard]] Result<> sync();

  // Small named values: ports that must stay, the CRL's number.
  [[nodiscard]] Result<std::optional<std::string>> meta(std::string_view key);
  [[nodiscard]] Result<> set_meta(std::string_view key, std::string_view value);

  // API tokens: only digests are stored. A name is given once: permanent when it is taken.
  [[nodiscard]] Result<> add_api_token(const Digest& secret, Role role, std::string_view name);
  [[nodiscard]] Result<std::optional<ApiCaller>> api_caller(const Digest& secret);
  [[nodiscard]] Result<std::vector<ApiTokenRow>> api_tokens();
  // False: there is none of this name.
  [[nodiscard]] Result<bool> remove_api_token(std::string_view name);

  [[nodiscard]] Result<std::int64_t> add_enrolment_token(const NewToken& token);
  [[nodiscard]] Result<std::vector<EnrolmentTokenRow>> enrolment_tokens();
  // Checks and uses up the token and writes the device with the token's role, or neither. `issue` makes the
  // certificate inside the transaction, so that a token is not lost when that fails; it is not called for a device that
  // waits for approval.
  [[nodiscard]] Result<Admission> enrol(const Digest& secret, const Newcomer& newcomer,
                                        const std::function<Result<IssuedCertificate>()>& issue);
  // A new certificate for a device that shows its key, or the newest one while that is good for long.
  [[nodiscard]] Result<Renewal> renew(const DeviceId& device, const std::string& public_key,
                                      std::chrono::milliseconds max_absence,
                                      const std::function<Result<IssuedCertificate>()>& issue);

  // permanent: there is no such device, or it cannot become that from what it is (may_become()). With `revoked` all its
  // certificates are. Nothing changes, and nothing is noted, when it is that already.
  [[nodiscard]] Result<> set_standing(const DeviceId& device, Standing standing, std::string_view reason,
                                      std::string_view who);
  // What the operator wants of the device.
  [[nodiscard]] Result<> set_wanted(const DeviceId& device, const wire::Configuration& wanted, std::string_view who,
                                    std::string_view what);
  // That have not expired yet.
  [[nodiscard]] Result<std::vector<RevokedRow>> revoked_certificates();

  // Who did what, the newest first; of one target, or of all.
  [[nodiscard]] Result<std::vector<AuditRow>> audit_log(std::string_view target, std::int64_t limit);
  [[nodiscard]] Result<> note(std::string_view who, std::string_view action, std::string_view target,
                              std::string_view detail = {});

  [[nodiscard]] Result<std::vector<DeviceRow>> devices();
  [[nodiscard]] Result<std::optional<DeviceRow>> device(const DeviceId& id);
  [[nodiscard]] Result<> save_hello(const DeviceId& device, const wire::Hello& hello);
  [[nodiscard]] Result<> save_seen(const DeviceId& device);

  // Gives the next run id: run-1, run-2, ...
  [[nodiscard]] Result<RunId> add_run(const rounds::RunSpec& spec);
  // The same for a project, which is known from then on; one that is known keeps its owner.
  [[nodiscard]] Result<RunId> add_run(const rounds::RunSpec& spec, const ProjectRow& project, const RunSource& source);
  // By name; of one name, or all.
  [[nodiscard]] Result<std::vector<ProjectRow>> projects(std::string_view only = {});
  // Its runs stay, of no project.
  [[nodiscard]] Result<> remove_project(std::string_view name);
  // A paused run is not taken up until it is resumed.
  [[nodiscard]] Result<> set_paused(const RunId& run, bool paused);
  // Those that are paused and not over.
  [[nodiscard]] Result<std::vector<RunId>> paused_runs();
  // The same for a part that was asked for. `layout`, `parameters`: of its base; empty when it has none. permanent when
  // a part with its key is known.
  [[nodiscard]] Result<RunId> add_part(const rounds::PartRequest& request, std::string_view layout,
                                       std::uint64_t parameters);
  // In the order of their keys; of one key, or of all.
  [[nodiscard]] Result<std::vector<AskedPart>> asked_parts(const std::optional<TaskId>& only = {});
  // From then on its key is free; its files are still there.
  [[nodiscard]] Result<> forget_part(const RunId& run);
  // Forgotten parts whose files are still there.
  [[nodiscard]] Result<std::vector<RunId>> forgotten_parts();
  // By a run that was asked for here, or a part that is not forgotten.
  [[nodiscard]] Result<bool> needs_model(const Digest& model);
  // The models of a forgotten part, its base too, that nothing needs any more.
  [[nodiscard]] Result<std::vector<Digest>> models_to_remove(const RunId& forgotten);
  // Its files are gone, these models too.
  [[nodiscard]] Result<> remove_part(const RunId& forgotten, const std::vector<Digest>& models);
  // Phase, round, model, reason and the participants of the phase, of the top.
  [[nodiscard]] Result<> save_run(const rounds::RunState& state);
  // The same of these nodes of the tree, together. A cluster that is not at work any more is removed.
  [[nodiscard]] Result<> save_tree(const rounds::Tree& tree, const std::set<rounds::ClusterId>& changed);
  // Only one participant's row, and the node's reason. `state`: of the top or of this cluster.
  [[nodiscard]] Result<> save_participant(const rounds::RunState& state, const DeviceId& device,
                                          const rounds::ClusterId& cluster = {});
  [[nodiscard]] Result<> set_run_layout(const RunId& run, std::string_view layout, std::uint64_t parameters);
  // The newest 1000, newest first, without participants. Records that cannot be read are left out when the run is over,
  // and corrupt when it is not.
  [[nodiscard]] Result<std::vector<RunRow>> runs();
  [[nodiscard]] Result<std::optional<RunRow>> run(const RunId& run);  // with participants and parts

  // Rounds are of the top, or of the cluster that is named.
  [[nodiscard]] Result<> open_round(const RunId& run, std::int64_t round, const rounds::ClusterId& cluster = {});
  // The model, and the state that the algorithm's next step needs (none: it keeps none).
  [[nodiscard]] Result<> close_round(const RunId& run, std::int64_t round, double seconds, const ModelRow& model,
                                     const Digest& algorithm_state = {});
  // That the round left behind; none as well when it is not closed, or there is no such round.
  [[nodiscard]] Result<Digest> algorithm_state(const RunId& run, std::int64_t round,
                                               const rounds::ClusterId& cluster = {});
  [[nodiscard]] Result<> set_round_state(const RunId& run, std::int64_t round, std::string_view state,
                                         const rounds::ClusterId& cluster = {});
  [[nodiscard]] Result<> count_rejected(const RunId& run, std::int64_t round, const rounds::ClusterId& cluster = {});
  [[nodiscard]] Result<> count_dropped(const RunId& run, std::int64_t round, std::int64_t tasks,
                                       const rounds::ClusterId& cluster = {});
  [[nodiscard]] Result<> count_download(const RunId& run, std::int64_t round, std::uint64_t bytes,
                                        const rounds::ClusterId& cluster = {});
  // Of the top and of all clusters, the top's first; or of one of them.
  [[nodiscard]] Result<std::vector<RoundRow>> rounds_of(const RunId& run,
                                                        const std::optional<rounds::ClusterId>& only = {});

  // False when this device already has one in this round, or its task one in any: it counts once. Its participant has
  // answered with it.
  [[nodiscard]] Result<bool> add_contribution(const RunId& run, std::int64_t round, const ContributionRow& row,
                                              const rounds::ClusterId& cluster = {});
  [[nodiscard]] Result<std::vector<ContributionRow>> contributions(const RunId& run, std::int64_t round,
                                                                   const rounds::ClusterId& cluster = {});
  // Bytes of all updates of each device that count.
  [[nodiscard]] Result<std::map<DeviceId, std::uint64_t>> bytes_up(const RunId& run);
  // Of training, as each device reported it with the last update of its that counts.
  [[nodiscard]] Result<std::map<DeviceId, double>> last_losses(const RunId& run);
  // Whether the update of this device's task counts, in whatever round.
  [[nodiscard]] Result<bool> has_contributed(const RunId& run, const TaskId& task, const DeviceId& device);
  // Counts in this cycle; nothing when it has handed up in it already. With it the cluster, as a participant, has
  // answered, and is not at work any more.
  [[nodiscard]] Result<> add_handed_up(const RunId& run, std::int64_t cycle, const HandedUpRow& row);
  [[nodiscard]] Result<std::vector<HandedUpRow>> handed_up(const RunId& run, std::int64_t cycle);
  // Of the model that a round (of this cluster, or the top) made, on one device's test split; a repeated one replaces.
  // `member`: the cluster of the device, or that it is.
  [[nodiscard]] Result<> save_metrics(const RunId& run, std::int64_t round, const DeviceId& device,
                                      const wire::Metrics& metrics, const rounds::ClusterId& cluster = {},
                                      const rounds::ClusterId& member = {});
  // Of the model that a round of the top made.
  [[nodiscard]] Result<ModelFigures> model_figures(const RunId& run, std::int64_t round);
  // Of the models of cycles, the oldest first; of all clusters, or of one.
  [[nodiscard]] Result<std::vector<ClusterFigures>> cluster_figures(const RunId& run,
                                                                    const rounds::ClusterId& only = {});

  [[nodiscard]] Result<> add_model(const ModelRow& model);
  [[nodiscard]] Result<std::vector<ModelRow>> models();

 private:
  Registry(store::Database database, const Clock& clock) : database_(std::move(database)), clock_(&clock) {}
  [[nodiscard]] std::int64_t now() const { return unix_ms(clock_->wall()); }
  [[nodiscard]] Result<> step(const std::function<Result<>()>& body);
  [[nodiscard]] Result<> admit(const Newcomer& newcomer, const EnrolmentTokenRow& token, Standing standing,
                               bool key_replaced, const IssuedCertificate& certificate);
  [[nodiscard]] Result<> add_certificate(const DeviceId& device, const IssuedCertificate& certificate);
  [[nodiscard]] Result<> revoke_certificates(const DeviceId& device);
  [[nodiscard]] Result<> bump(const RunId& run);
  [[nodiscard]] Result<> insert_run(const rounds::RunSpec& spec, RunId& id);
  [[nodiscard]] Result<> write_top(const rounds::RunState& state);
  [[nodiscard]] Result<> write_part(const RunId& run, const rounds::ClusterId& cluster, const rounds::RunState* state);
  [[nodiscard]] Result<> write_participants(const RunId& run, const rounds::ClusterId& cluster,
                                            const rounds::RunState* state);
  [[nodiscard]] Result<> write_participant(const RunId& run, const rounds::ClusterId& cluster, const DeviceId& device,
                                           const rounds::Participant& participant);
  [[nodiscard]] Result<> read_participants(RunRow& run);
  [[nodiscard]] Result<> read_parts(RunRow& run);

  store::Database database_;
  bool unsynced_ = false;
  const Clock* clock_;
};

}  // namespace flops::registry
