#include "device_life.hpp"

#include <algorithm>

#include "flops/core/log.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/health/conditions.hpp"

namespace flops::coordinator {

using registry::Renewal;
using registry::Standing;

namespace {

constexpr std::string_view own_name = "coordinator";

std::string_view reason_of(Renewal::Outcome outcome) {
  switch (outcome) {
    case Renewal::Outcome::issued:
    case Renewal::Outcome::current: return "";
    case Renewal::Outcome::unknown_device: return "this device is not in the registry, or was never approved";
    case Renewal::Outcome::wrong_key: return "this is not the key of the device: enrol it again";
    case Renewal::Outcome::revoked: return "the device has been revoked";
    case Renewal::Outcome::too_late: return "its certificate expired too long ago: enrol it again";
  }
  return "";
}

}  // namespace

void DeviceLife::reload(const DeviceId& device) {
  if (auto loaded = parts_.fleet.reload(device); !loaded) {
    log::error("fleet", "{}", loaded.error().what);
  }
}

Result<> DeviceLife::set_standing(const DeviceId& device, Standing standing, std::string_view reason,
                                  std::string_view who) {
  const Device* before = parts_.fleet.find(device);
  if (before != nullptr && before->row.standing == standing) {
    return parts_.broker.catch_up();
  }
  if (auto set = parts_.registry.set_standing(device, standing, reason, who); !set) {
    return set;
  }
  reload(device);
  const log::Field of("FLOPS_DEVICE", device.str());
  log::info("fleet", "device {} is {} now, by {}{}{}", device, registry::to_string(standing), who,
            reason.empty() ? "" : ": ", reason);
  if (standing == Standing::quarantined || standing == Standing::revoked) {
    parts_.runs.fleet_changed();  // first: it must not be asked again at once
    parts_.runs.exclude(device, fmt::format("the device was {}", registry::to_string(standing)));
  }
  // Also when the broker's files cannot be written now: the runs know already, and it is tried again.
  const auto told = parts_.broker.changed(device, standing == Standing::revoked ? Cut::revoked : Cut::no);
  if (const Device* now = parts_.fleet.find(device); now != nullptr) {
    tell_standing(*now);
  }
  if (standing == Standing::revoked) {
    put_offline(device);
  }
  parts_.presence_changed();
  return told;
}

// Its will says nothing when another connection takes its place.
void DeviceLife::put_offline(const DeviceId& device) {
  if (Device* gone = parts_.fleet.find(device); gone != nullptr && gone->state.online) {
    gone->state.online = false;
    log::info("fleet", "device {} is cut off", device);
  }
  parts_.link.publish(parts_.link.topics().device_state(device), "", {.qos = 1, .retain = true});
}

void DeviceLife::tell_standing(const Device& device) {
  if (device.state.online && device.row.standing != Standing::revoked) {
    parts_.link.command(device.row.id, "notice",
                        wire::encode(wire::Notice{std::string(registry::to_string(device.row.standing)),
                                                  std::string(health::cut(device.row.reason, wire::max_reason))}));
  }
}

Result<> DeviceLife::configure(const DeviceId& device, wire::Configuration wanted, std::string_view who,
                               std::string_view what) {
  const Device* known = parts_.fleet.find(device);
  if (known == nullptr) {
    return fail(ErrorKind::permanent, "there is no device {}", device);
  }
  wanted.version = known->row.wanted.version + 1;
  if (const std::size_t bytes = wire::encode(wanted).size(); bytes > wire::max_message) {
    return fail(ErrorKind::permanent, "all that is wanted of {} would be a message of {} bytes; it may have {}", device,
                bytes, wire::max_message);
  }
  if (auto set = parts_.registry.set_wanted(device, wanted, who, what); !set) {
    return set;
  }
  reload(device);
  parts_.link.command(device, "configuration", wire::encode(wanted));
  return {};
}

Result<registry::IssuedCertificate> DeviceLife::issue(const DeviceId& device, const std::string& csr) {
  crypto::IssueRequest request;
  request.common_name = device.str();
  request.lifetime = std::chrono::duration_cast<std::chrono::seconds>(parts_.config.enrolment.certificate_lifetime);
  auto pem = parts_.credentials.ca.issue(csr, request);
  auto info = pem ? crypto::read_certificate(*pem) : Result<crypto::CertificateInfo>(fail(pem.error()));
  if (!info) {
    return fail(info.error());
  }
  return registry::IssuedCertificate{info->serial, info->not_before, info->not_after, *std::move(pem)};
}

void DeviceLife::enrolled(const DeviceId& device, bool key_replaced) {
  reload(device);
  log::info("fleet", "device {} enrolled{}", device, key_replaced ? " with a new key" : "");
  if (key_replaced) {
    parts_.runs.exclude(device, "the device was enrolled anew");
    put_offline(device);
    if (auto told = parts_.broker.changed(device, Cut::replaced); !told) {
      log::error("broker", "{}: {}", device, told.error().what);
    }
  }
  parts_.runs.fleet_changed();  // what it was before, it may not be any more
}

Result<Renewal> DeviceLife::renew(const DeviceId& device, const std::string& csr) {
  auto request = crypto::read_csr(csr);
  if (!request) {
    return fail(request.error());
  }
  if (request->common_name != device.str()) {
    return fail(ErrorKind::permanent, "the request is for '{}', not for '{}'", request->common_name, device);
  }
  auto renewal = parts_.registry.renew(device, request->public_key_digest, parts_.config.enrolment.max_absence,
                                       [&] { return issue(device, csr); });
  if (renewal && renewal->outcome == Renewal::Outcome::issued) {
    log::info("enrolment", "device {} has a new certificate", device);
    reload(device);
  }
  return renewal;
}

void DeviceLife::asked_for_renewal(const Device& device, const wire::Renew& renewal) {
  const DeviceId id = device.row.id;
  auto renewed = renew(id, renewal.csr);
  if (!renewed && renewed.error().kind != ErrorKind::permanent && renewed.error().kind != ErrorKind::corrupt) {
    log::error("enrolment", "renewing the certificate of {}: {}", id, renewed.error().what);
    return;  // it asks again
  }
  if (!renewed || renewed->pem.empty()) {
    parts_.runs.refuse(id, "up/renew", "renewal", renewed ? reason_of(renewed->outcome) : renewed.error().what);
    return;
  }
  parts_.link.command(id, "certificate", wire::encode(wire::Certificate{renewed->pem}));
}

void DeviceLife::said_hello(const Device& device) {
  if (device.row.wanted.version != device.state.configuration) {
    parts_.link.command(device.row.id, "configuration", wire::encode(device.row.wanted));
  }
  // It was away when that changed.
  const bool believes = std::ranges::any_of(
      device.state.health, [](const wire::Condition& condition) { return condition.name == "quarantined"; });
  if (believes || device.row.standing == Standing::quarantined) {
    tell_standing(device);
  }
}

void DeviceLife::has_two_machines(const DeviceId& device) {
  parts_.runs.refuse(device, "state", wire::identity_shared, "another machine connects with this device's certificate");
  const Device* known = parts_.fleet.find(device);
  if (!parts_.config.enrolment.quarantine_clones || known == nullptr || known->row.standing != Standing::accepted) {
    return;
  }
  auto set = set_standing(device, Standing::quarantined,
                          "two machines use this device's certificate: revoke it, and enrol the right one anew with a "
                          "token that is made for it",
                          own_name);
  if (!set) {
    log::error("fleet", "{}: {}", device, set.error().what);
  }
}

}  // namespace flops::coordinator
