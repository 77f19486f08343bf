#include "fleet.hpp"

#include <algorithm>

#include "flops/core/log.hpp"

namespace flops::coordinator {
namespace {

// A hello follows the state at once; only one that got lost is asked for.
constexpr auto hello_follows_within = std::chrono::seconds(1);
constexpr auto ask_again_after = std::chrono::seconds(10);

bool has_data(const Device& device, const std::string& data, wire::Role role) {
  return device.row.standing == registry::Standing::accepted && device.row.hello && device.row.hello->role == role &&
         device.row.role == role && std::ranges::any_of(device.row.hello->datasets, [&](const wire::Dataset& dataset) {
           return dataset.tag == data && dataset.train_samples > 0;
         });
}

rounds::Machine machine_of(const wire::Hello& hello) {
  return {hello.memory_bytes,         hello.cores, hello.storage_bytes, hello.architecture,
          !hello.accelerator.empty(), hello.labels};
}

// Devices behind a site are the site's to choose.
std::string lacks(const Device& device, const rounds::RunSpec& spec) {
  const bool site = device.row.role == wire::Role::cluster;
  return site ? std::string() : rounds::unsuitable(spec.requirements, machine_of(*device.row.hello));
}

}  // namespace

Result<> Fleet::load() {
  auto rows = registry_.devices();
  if (!rows) {
    return fail(rows.error(), "reading the devices");
  }
  for (registry::DeviceRow& row : *rows) {
    take(std::move(row));
  }
  return {};
}

Result<> Fleet::reload(const DeviceId& device) {
  auto row = registry_.device(device);
  if (!row) {
    return fail(row.error(), fmt::format("reading device {}", device));
  }
  if (*row) {
    take(**std::move(row));
  }
  return {};
}

void Fleet::take(registry::DeviceRow row) {
  Device& device = devices_[row.id];  // keeps what is known of its presence
  device.row = std::move(row);
  if (device.row.hello) {
    device.models = {device.row.hello->models.begin(), device.row.hello->models.end()};
  }
}

Device* Fleet::find(const DeviceId& device) {
  const auto found = devices_.find(device);
  return found == devices_.end() ? nullptr : &found->second;
}

bool Fleet::is_accepted(const DeviceId& device) const {
  const auto found = devices_.find(device);
  return found != devices_.end() && found->second.row.standing == registry::Standing::accepted;
}

std::vector<DeviceId> Fleet::excluded() const {
  std::vector<DeviceId> found;
  for (const auto& [id, device] : devices_) {
    if (device.row.standing == registry::Standing::quarantined || device.row.standing == registry::Standing::revoked) {
      found.push_back(id);
    }
  }
  return found;
}

std::int64_t Fleet::online() const {
  return std::ranges::count_if(devices_, [](const auto& entry) { return entry.second.state.online; });
}

std::set<DeviceId> Fleet::able(const rounds::RunSpec& spec, wire::Role role) const {
  std::set<DeviceId> found;
  for (const auto& [id, device] : devices_) {
    if (has_data(device, spec.data, role) && lacks(device, spec).empty()) {
      found.insert(id);
    }
  }
  return found;
}

std::set<DeviceId> Fleet::available(const rounds::RunSpec& spec, wire::Role role) const {
  std::set<DeviceId> found = able(spec, role);
  std::erase_if(found, [this](const DeviceId& id) { return !devices_.at(id).state.online; });
  return found;
}

std::map<DeviceId, std::string> Fleet::left_out(const rounds::RunSpec& spec) const {
  std::map<DeviceId, std::string> found;
  for (const auto& [id, device] : devices_) {
    if (!has_data(device, spec.data, wire::Role::device)) {
      continue;
    }
    if (std::string why = lacks(device, spec); !why.empty()) {
      found.emplace(id, std::move(why));
    }
  }
  return found;
}

std::string Fleet::nobody_can(const rounds::RunSpec& spec) const {
  const bool of_sites = spec.clusters.by == rounds::Grouping::By::sites;
  const auto out = left_out(spec);
  if (of_sites || out.empty() || !able(spec, wire::Role::device).empty()) {
    return {};
  }
  const auto& [device, why] = *out.begin();
  return fmt::format("none of the {} devices with the data '{}' has what the run requires; {}: {}", out.size(),
                     spec.data, device, why);
}

std::vector<DeviceId> Fleet::silent(SteadyTime now) {
  std::vector<DeviceId> found;
  for (auto& [id, device] : devices_) {
    const bool known = device.row.hello && device.row.hello->session == device.state.session;
    if (device.state.online && !known && now >= device.hello_due) {
      device.hello_due = now + ask_again_after;
      found.push_back(id);
    }
  }
  return found;
}

bool Fleet::on_state(Device& device, wire::DeviceState state, SteadyTime now) {
  const bool changed = device.state.online != state.online;
  if (changed) {
    log::info("fleet", "device {} is {}", device.row.id,
              state.online ? "online"
              : state.lost ? "offline (connection lost)"
                           : "offline");
    device.row.last_seen = unix_ms(std::chrono::system_clock::now());
    if (auto saved = registry_.save_seen(device.row.id); !saved) {
      log::error("fleet", "{}", saved.error().what);
    }
  }
  if (changed || device.state.session != state.session) {
    device.hello_due = now + hello_follows_within;
  }
  device.state = std::move(state);
  return changed;
}

void Fleet::on_hello(Device& device, wire::Hello hello) {
  if (auto saved = registry_.save_hello(device.row.id, hello); !saved) {
    log::error("fleet", "{}", saved.error().what);
  }
  if (hello.role != device.row.role) {
    const bool site = hello.role == wire::Role::cluster;
    log::warn("fleet",
              "{} says that it is a {}, but is enrolled as a {}: it gets no work; enrol it again with a token {}",
              device.row.id, site ? "site" : "device", site ? "device" : "site",
              site ? "for sites (flopsctl token create --site)" : "for devices (flopsctl token create)");
  }
  device.models = {hello.models.begin(), hello.models.end()};
  device.row.hello = std::move(hello);
}

}  // namespace flops::coordinator
