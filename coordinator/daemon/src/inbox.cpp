#include "inbox.hpp"

#include "flops/core/log.hpp"

namespace flops::coordinator {

void Inbox::on_message(const mqtt::Message& message) {
  const auto topic = topics_.from_device(message.topic);
  if (!topic) {
    return;
  }
  const log::Field of("FLOPS_DEVICE", topic->device.str());
  Device* device = fleet_.find(topic->device);
  if (device == nullptr) {
    // Its certificate is from our CA, but the registry does not know it: an old backup was restored, perhaps.
    if (topic->what == wire::Topics::FromDevice::What::up) {
      runs_.refuse(topic->device, ("up/" + topic->kind).substr(0, 64), "unknown_device",
                   "this device is not in the registry: enrol it again");
    }
    return;
  }
  if (device->row.standing == registry::Standing::revoked) {
    return;  // said before the broker had cut it off
  }
  switch (topic->what) {
    case wire::Topics::FromDevice::What::state: on_state(*device, message.payload); break;
    case wire::Topics::FromDevice::What::up: on_up(*device, topic->kind, message.payload); break;
    case wire::Topics::FromDevice::What::chunk:
      if (device->row.standing == registry::Standing::accepted) {
        runs_.on_chunk(topic->device, topic->blob, topic->n, message.payload);
      }
      break;
  }
}

void Inbox::on_state(Device& device, const std::string& payload) {
  if (payload.empty()) {
    return;  // what we have taken off the broker ourselves
  }
  decoded<wire::DeviceState>(device, "state", payload, [&](wire::DeviceState state) {
    const bool online = state.online;
    const SessionHistory::Verdict verdict = device.sessions.judge(state);
    if (verdict == SessionHistory::Verdict::old) {
      log::debug("fleet", "an old state of {} is passed over", device.row.id);
      return;
    }
    if (verdict == SessionHistory::Verdict::came_back) {
      life_.has_two_machines(device.row.id);
    }
    if (fleet_.on_state(device, std::move(state), clock_.steady())) {
      if (!online) {
        runs_.device_lost(device.row.id);
      }
      presence_changed_();
    }
  });
}

// The wire library's errors begin with the code of docs/protocol.md: "field: 'weight': missing".
template <class Message, class Handle>
void Inbox::decoded(Device& device, const std::string& kind, const std::string& payload, Handle handle) {
  auto message = wire::decode<Message>(payload);
  if (message) {
    handle(*std::move(message));
    return;
  }
  const std::string& what = message.error().what;
  const std::size_t colon = what.find(':');
  runs_.refuse(device.row.id, kind, what.substr(0, colon), what);
}

void Inbox::on_up(Device& device, const std::string& kind, const std::string& payload) {
  const DeviceId id = device.row.id;
  const std::string about = "up/" + kind;
  if (kind == "hello") {
    decoded<wire::Hello>(device, about, payload, [&](wire::Hello hello) {
      fleet_.on_hello(device, std::move(hello));
      life_.said_hello(device);
      runs_.device_said_hello(id);
      presence_changed_();
    });
  } else if (kind == "renew") {
    decoded<wire::Renew>(device, about, payload,
                         [&](const wire::Renew& renewal) { life_.asked_for_renewal(device, renewal); });
  } else if (kind == "report") {
    decoded<wire::Report>(device, about, payload,
                          [&](wire::Report report) { reports_.on_report(id, std::move(report)); });
  } else if (kind == "log") {
    decoded<wire::LogLine>(device, about, payload,
                           [&](const wire::LogLine& line) { log::warn("device", "{}: {}", id, line.text); });
  } else if (!on_work(device, kind, payload)) {
    runs_.refuse(id, about.substr(0, 64), "kind", "there is no such message");
  }
}

// What is about tasks. False: there is no such message.
bool Inbox::on_work(Device& device, const std::string& kind, const std::string& payload) {
  const DeviceId id = device.row.id;
  const std::string about = "up/" + kind;
  const bool quarantined = device.row.standing != registry::Standing::accepted;
  if (kind == "ack") {
    decoded<wire::Ack>(device, about, payload, [&](const wire::Ack& ack) { runs_.on_ack(id, ack); });
  } else if (kind == "metrics" || kind == "result") {
    if (quarantined) {
      runs_.refuse(id, about, "quarantined", "this device is quarantined: nothing of it counts");
    } else if (kind == "metrics") {
      decoded<wire::Metrics>(device, about, payload,
                             [&](const wire::Metrics& metrics) { runs_.on_metrics(id, metrics); });
    } else {
      decoded<wire::ResultMessage>(device, about, payload,
                                   [&](const wire::ResultMessage& result) { runs_.on_result(id, result); });
    }
  } else if (kind == "progress") {
    decoded<wire::Progress>(device, about, payload, [&](const wire::Progress& progress) {
      if (device.state.task == progress.ref.task.str()) {  // else of a task that is over
        device.state.activity = progress.phase;
      }
    });
  } else {
    return false;
  }
  return true;
}

}  // namespace flops::coordinator
