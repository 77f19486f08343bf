#include "broker_access.hpp"

#include <charconv>
#include <utility>

#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"

namespace flops::coordinator {
namespace {

constexpr std::string_view number_key = "crl.number";

}  // namespace

BrokerAccess::BrokerAccess(boost::asio::any_io_executor loop, const Config& config, const FleetId& fleet,
                           registry::Registry& registry, const Credentials& credentials)
    : config_(config),
      fleet_(fleet),
      registry_(registry),
      credentials_(credentials),
      files_{config.state_folder / "broker"},
      eviction_(std::move(loop), config, credentials) {}

Result<std::int64_t> BrokerAccess::list_number() {
  auto stored = registry_.meta(number_key);
  if (!stored) {
    return fail(stored.error());
  }
  std::int64_t number = 1;
  if (*stored) {
    const std::string& text = **stored;
    (void)std::from_chars(text.data(), text.data() + text.size(), number);
  }
  return number;
}

Result<std::string> BrokerAccess::revocation_list() {
  auto rows = registry_.revoked_certificates();
  auto number = rows ? list_number() : Result<std::int64_t>(fail(rows.error()));
  if (!number) {
    return fail(number.error(), "the revocation list");
  }
  std::vector<crypto::RevokedCertificate> revoked;
  for (const registry::RevokedRow& row : *rows) {
    revoked.push_back({row.serial, row.revoked_at});
  }
  return credentials_.ca.revocation_list(revoked, *number);
}

Result<> BrokerAccess::write_acl() {
  auto devices = registry_.devices();
  if (!devices) {
    return fail(devices.error(), "the broker's ACL");
  }
  broker::Restrictions restrictions;
  for (const registry::DeviceRow& device : *devices) {
    if (device.standing == registry::Standing::quarantined) {
      restrictions.quarantined.insert(device.id);
    } else if (device.standing == registry::Standing::revoked) {
      restrictions.revoked.insert(device.id);
    }
  }
  return replace_file(files_.acl(), broker::mosquitto_acl(fleet_, restrictions), 0600);
}

Result<> BrokerAccess::write_files() {
  auto list = revocation_list();
  if (!list) {
    return fail(list.error());
  }
  if (auto written = replace_file(files_.crl(), *list, 0600); !written) {
    return written;
  }
  written_at_ = SystemClock().wall();
  return write_acl();
}

void BrokerAccess::begin(broker::ManagedBroker* broker, BrokerAddress address) {
  broker_ = broker;
  eviction_.begin(std::move(address));
}

Result<> BrokerAccess::changed(const DeviceId& device, Cut cut) {
  behind_ = true;
  if (cut != Cut::no) {
    to_cut_[device] = cut;
  }
  return catch_up();
}

Result<> BrokerAccess::catch_up() {
  if (auto told = behind_ ? tell() : Result<>(); !told) {
    return fail(ErrorKind::resource, "the broker cannot be told now, which is tried again: {}", told.error().what);
  }
  return {};
}

Result<> BrokerAccess::tell() {
  auto number = list_number();
  auto counted = number ? registry_.set_meta(number_key, std::to_string(*number + 1)) : Result<>(fail(number.error()));
  if (!counted) {
    return counted;
  }
  if (broker_ != nullptr) {
    if (auto written = write_files(); !written) {
      return written;
    }
    broker_->reload();
  }
  for (const auto& [device, cut] : to_cut_) {
    eviction_.evict(device, cut, broker_ != nullptr);
  }
  to_cut_.clear();
  behind_ = false;
  return {};
}

void BrokerAccess::tick() {
  constexpr auto tolerance = std::chrono::minutes(1);
  // A list that is not valid yet shuts everybody out.
  behind_ = behind_ || (broker_ != nullptr && written_at_ > SystemClock().wall() + tolerance);
  const auto done = catch_up();
  const std::string problem = done ? "" : done.error().what;
  if (std::exchange(problem_, problem) != problem && !problem.empty()) {
    log::error("broker", "{}", problem);
  }
}

}  // namespace flops::coordinator
