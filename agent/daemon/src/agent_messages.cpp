// What the device hears and says.
#include "agent.hpp"

#include <algorithm>
#include <charconv>

#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/control_variates.hpp"

namespace flops::agent {
namespace {

using std::chrono::seconds;

constexpr const char* reconnect_window_key = "reconnect_window";  // in seconds

// A task needs the base model, the trained one and the trainer's own copy; offline also what earlier rounds gave.
constexpr std::uint64_t copies_of_model = 3;
// Of [x, c]: those for the agent, the device's variate with the new one, and three halves for the trainer, whose model,
// its base and the difference of the variates are of the model's size.
constexpr std::uint64_t copies_with_variates = 5;
// Of a site's sum, beside its model and the base.
constexpr std::uint64_t copies_of_sum = 3;

}  // namespace

template <class Message>
void Agent::say(std::string_view kind, const Message& message, mqtt::Done done) {
  mqtt::PublishOptions options;
  options.qos = kind == "progress" ? 0 : 1;
  if (!done) {
    done = [kind = std::string(kind)](const Result<>& outcome) {
      // A broken link is no news: everything that matters is said again on the next connect.
      if (!outcome && outcome.error().kind != ErrorKind::transient) {
        log::error("agent", "publishing up/{}: {}", kind, outcome.error().what);
      }
    };
  }
  link_->publish(link_->topics().up(identity_.device, kind), wire::encode(message), options, std::move(done));
}
template void Agent::say<wire::Ack>(std::string_view, const wire::Ack&, mqtt::Done);
template void Agent::say<wire::Progress>(std::string_view, const wire::Progress&, mqtt::Done);
template void Agent::say<wire::Renew>(std::string_view, const wire::Renew&, mqtt::Done);
template void Agent::say<wire::Report>(std::string_view, const wire::Report&, mqtt::Done);
template void Agent::say<wire::Metrics>(std::string_view, const wire::Metrics&, mqtt::Done);
template void Agent::say<wire::ResultMessage>(std::string_view, const wire::ResultMessage&, mqtt::Done);

void Agent::on_link_up() {
  if (stopping_) {
    return;
  }
  published_.reset();
  coordinator_.reset();
  clear(clock_condition);
  remember_time();
  survey_datasets();
  publish_state_if_changed();
  fetcher_.link_up();
  greet();
}

void Agent::on_link_down() {
  state_changed_soon();  // for the service manager
  fetcher_.link_down();
  uploader_.link_down();
}

// Who is here, what is held, and all that is still open.
void Agent::greet() {
  say_hello();
  for (const TaskId& id : task_ids()) {
    dispatch(id, event::Connected{});
  }
  renewal_asked_ = long_ago;  // the question or its answer may be lost
  watch_certificate();
}

void Agent::say_hello() {
  wire::Hello hello;
  hello.session = session_;
  hello.agent_version = version;
  hello.architecture = machine_.architecture;
  hello.cores = machine_.cores;
  hello.memory_bytes = machine_.memory_bytes;
  hello.machine = machine_.model;
  hello.system = machine_.system;
  hello.accelerator = machine_.accelerator;
  if (const auto space = disk_space(config_.state_folder)) {
    hello.storage_bytes = space->free;
  }
  hello.labels = config_.labels;
  hello.datasets = datasets_;
  if (auto models = storage_.models()) {
    std::ranges::transform(*models, std::back_inserter(hello.models), &StoredModel::digest);
  } else {
    log::error("agent", "reading the list of models: {}", models.error().what);
  }
  hello.tasks = task_ids();
  hello.role = config_.is_uplink() ? wire::Role::cluster : wire::Role::device;
  say("hello", hello);
}

void Agent::on_message(mqtt::Message message) {
  if (stopping_) {
    return;
  }
  if (message.topic == link_->topics().status()) {
    on_coordinator_status(message);
    return;
  }
  const auto topic = link_->topics().for_device(identity_.device, message.topic);
  if (!topic) {
    count_bad("topic", message.topic.substr(0, 128));
  } else if (topic->command.empty()) {
    fetcher_.on_chunk(topic->blob, topic->n, std::move(message.payload));
  } else {
    on_command(topic->command, message.payload);
  }
}

void Agent::count_bad(const std::string& kind, std::string_view reason) {
  // The kind comes from a topic: only so many are told apart.
  constexpr std::size_t max_kinds = 32;
  if (bad_messages_.size() >= max_kinds && !bad_messages_.contains(kind)) {
    return;
  }
  if (++bad_messages_[kind] == 1) {
    log::warn("agent", "a message cannot be used ({}): {}; more of this kind are counted, not logged", kind, reason);
  }
}

template <class Message>
std::optional<Message> Agent::decode(const std::string& kind, const std::string& payload) {
  auto message = wire::decode<Message>(payload);
  if (!message) {
    count_bad("cmd/" + kind, message.error().what);
    return std::nullopt;
  }
  return *std::move(message);
}

void Agent::on_command(const std::string& kind, const std::string& payload) {
  if (kind == "task") {
    if (const auto task = decode<wire::Task>(kind, payload)) {
      on_task(*task);
    }
  } else if (kind == "grant") {
    if (const auto grant = decode<wire::Grant>(kind, payload)) {
      dispatch(grant->ref.task, event::Granted{*grant});
    }
  } else if (kind == "receipt") {
    if (const auto receipt = decode<wire::Receipt>(kind, payload)) {
      if (receipt->status == wire::ReceiptStatus::rejected) {
        log::warn("agent", "task {}: the update was rejected: {}", receipt->ref.task, receipt->reason);
      }
      dispatch(receipt->ref.task, event::Receipted{*receipt});
    }
  } else if (kind == "cancel") {
    if (const auto cancel = decode<wire::Cancel>(kind, payload)) {
      log::info("agent", "task {} is cancelled: {}", cancel->ref.task, cancel->reason);
      forget_arrival(cancel->ref.task);
      dispatch(cancel->ref.task, event::Cancelled{});
    }
  } else if (kind == "hello") {
    if (decode<wire::HelloRequest>(kind, payload)) {
      log::info("agent", "the coordinator asks who is there");
      greet();
    }
  } else if (on_life_command(kind, payload)) {
    return;
  } else if (kind == "refused") {
    if (const auto refused = decode<wire::Refused>(kind, payload)) {
      if (refused->code == wire::identity_shared) {
        link_->identity_shared();
      }
      count_bad(fmt::format("refused by the coordinator, {} {}", refused->about, refused->code), refused->reason);
    }
  } else {
    count_bad("cmd/" + kind.substr(0, 64), "no such command");
  }
}

// What is about the device and not about its work. False: there is no such command.
bool Agent::on_life_command(const std::string& kind, const std::string& payload) {
  if (kind == "certificate") {
    if (const auto certificate = decode<wire::Certificate>(kind, payload)) {
      on_certificate(*certificate);
    }
  } else if (kind == "configuration") {
    if (const auto wanted = decode<wire::Configuration>(kind, payload)) {
      on_configuration(*wanted);
    }
  } else if (kind == "notice") {
    if (const auto notice = decode<wire::Notice>(kind, payload)) {
      on_notice(*notice);
    }
  } else if (kind == "report") {
    if (const auto request = decode<wire::ReportRequest>(kind, payload)) {
      on_report_request(*request);
    }
  } else {
    return false;
  }
  return true;
}

void Agent::on_task(const wire::Task& task) {
  const TaskId& id = task.ref.task;
  auto finished = storage_.is_finished(id);
  auto base = finished ? storage_.has_model(task.base) : finished;
  auto delta_base = base ? storage_.has_model(task.base_blob_base) : base;
  if (!delta_base) {
    arrival_failed(delta_base.error(), task);
    return;
  }
  if (*finished) {
    log::debug("agent", "task {} is over and was sent again", id);
    say("ack", wire::Ack{task.ref, wire::AckStatus::declined, "this task is over here"});
    return;
  }
  Admission admission = admit(open_states(), task, static_cast<std::uint64_t>(config_.outbox_quota_mb) << 20U);
  if (admission.refusal.empty()) {
    admission.refusal = problem_with(task);
  }
  if (admission.refusal.empty() && find(id) == nullptr && !has_room_for(task)) {
    return;  // taken when there is room
  }
  waiting_for_room_.erase(id);
  if (!admission.refusal.empty()) {
    log::warn("agent", "task {} is declined: {}", id, admission.refusal);
  } else {
    for (const TaskId& older : admission.superseded) {
      log::info("agent", "task {} is replaced by {}", older, id);
      dispatch(older, event::Superseded{});
    }
  }
  if (find(id) == nullptr) {
    entries_.push_back(std::make_shared<Entry>());
    entries_.back()->state.task.ref = task.ref;
  }
  dispatch(id, event::Arrived{task, *base, *delta_base, admission.refusal});
}

// What a device can see before it starts. Everything else fails where it happens.
std::string Agent::problem_with(const wire::Task& task) const {
  if (std::string problem = problem_with_part(task); !problem.empty()) {
    return problem;
  }
  if (auto codec = tensor::parse_codec(task.codec); !codec && task.codec != wire::sum_codec) {
    return codec.error().what;
  }
  if (task.kind == wire::TaskKind::init) {
    return {};
  }
  // Whether enough of a site's devices have the data its coordinator knows.
  if (!config_.is_uplink() && std::ranges::find(datasets_, task.data, &wire::Dataset::tag) == datasets_.end()) {
    return fmt::format("no usable data set '{}' here", task.data);
  }
  return problem_with_model(task);
}

std::string Agent::problem_with_model(const wire::Task& task) const {
  auto layout = tensor::Layout::parse(task.layout_text);
  if (!layout) {
    return layout.error().within("layout_text").what;
  }
  const bool variates = task.training.control_variates;
  if (auto model = variates ? tensor::without_variates(*layout) : layout; !model) {
    return model.error().within("layout_text").what;
  }
  if (task.base.empty()) {
    return "the task names no base model";
  }
  const std::uint64_t more =
      (config_.offline_continue > 0 ? 1 : 0) + (task.codec == wire::sum_codec ? copies_of_sum : 0);
  const std::uint64_t copies = variates ? copies_with_variates : copies_of_model + more;
  if (layout->bytes() > machine_.memory_bytes / copies) {
    return fmt::format("the model needs {} MiB, this device has {} MiB", copies * (layout->bytes() >> 20U),
                       machine_.memory_bytes >> 20U);
  }
  const std::uint64_t limit = tensor::max_encoded_bytes(tensor::Codec::lossless, layout->parameters());
  if (task.base_blob && (task.base_blob->size == 0 || task.base_blob->size > limit)) {
    return fmt::format("a blob of {} bytes cannot be a model of {} parameters", task.base_blob->size,
                       layout->parameters());
  }
  return {};
}

// For the next start: a device that gets its power back together with the whole fleet has not heard a status yet.
void Agent::remember_reconnect_window() {
  const std::int64_t window = coordinator_->reconnect_window_seconds;
  if (window == 0 || std::exchange(remembered_window_, window) == window) {
    return;
  }
  if (auto noted = storage_.put_meta(reconnect_window_key, std::to_string(window)); !noted) {
    log::warn("agent", "recording the reconnect window: {}", noted.error().what);
  }
}

void Agent::recall_reconnect_window() {
  const auto stored = storage_.meta(reconnect_window_key);
  if (!stored || !*stored) {
    return;
  }
  std::int64_t window = 0;
  const std::string& text = **stored;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), window);
  if (problem == std::errc() && end == text.data() + text.size() && window >= 0 &&
      window <= wire::max_reconnect_window) {
    remembered_window_ = window;
    link_->remember_window(seconds(window));
  }
}

// A coordinator that comes back may have forgotten what was on its way.
void Agent::on_coordinator_status(const mqtt::Message& message) {
  auto status = wire::decode<wire::CoordinatorStatus>(message.payload);
  if (!status) {
    count_bad("status", status.error().what);
    return;
  }
  const bool returned = status->online && coordinator_ &&
                        (!coordinator_->online || status->uptime_seconds < coordinator_->uptime_seconds);
  coordinator_ = *std::move(status);
  link_->status_heard(seconds(coordinator_->reconnect_window_seconds));
  remember_reconnect_window();
  if (returned) {
    log::info("agent", "the coordinator is back");
    greet();
  }
}

}  // namespace flops::agent
