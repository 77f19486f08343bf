// Which devices there are, what they have, and which are online now. The registry remembers; this adds presence.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "flops/registry/registry.hpp"
#include "flops/rounds/run_spec.hpp"
#include "flops/wire/messages.hpp"
#include "session_history.hpp"

namespace flops::coordinator {

struct Device {
  registry::DeviceRow row;
  wire::DeviceState state;  // as last heard; online = false before
  std::set<Digest> models;  // versions it holds whole
  SteadyTime hello_due{};   // when to ask for a missing hello
  SessionHistory sessions;
};

class Fleet {
 public:
  explicit Fleet(registry::Registry& registry) : registry_(registry) {}

  [[nodiscard]] Result<> load();
  // What the registry says of one of them has changed, or it is new.
  [[nodiscard]] Result<> reload(const DeviceId& device);
  [[nodiscard]] Device* find(const DeviceId& device);
  [[nodiscard]] bool is_accepted(const DeviceId& device) const;
  // Those that were quarantined or revoked.
  [[nodiscard]] std::vector<DeviceId> excluded() const;
  // Devices, or sites, that can take part in such a run, online or not: they have its data, and what it requires.
  [[nodiscard]] std::set<DeviceId> able(const rounds::RunSpec& spec, wire::Role role) const;
  // Devices that have the data but not what the run requires, and what they lack.
  [[nodiscard]] std::map<DeviceId, std::string> left_out(const rounds::RunSpec& spec) const;
  // Why no device that is known can take part in the run; empty: one can, or none with the data is known yet.
  [[nodiscard]] std::string nobody_can(const rounds::RunSpec& spec) const;
  [[nodiscard]] const std::map<DeviceId, Device>& devices() const { return devices_; }
  [[nodiscard]] std::int64_t online() const;
  // Those that are able and online.
  [[nodiscard]] std::set<DeviceId> available(const rounds::RunSpec& spec, wire::Role role) const;

  // Online, but without a hello of this session for a while: to be asked, each at most every few seconds.
  [[nodiscard]] std::vector<DeviceId> silent(SteadyTime now);

  // True when the device went from offline to online or back.
  bool on_state(Device& device, wire::DeviceState state, SteadyTime now);
  void on_hello(Device& device, wire::Hello hello);

 private:
  void take(registry::DeviceRow row);

  registry::Registry& registry_;
  std::map<DeviceId, Device> devices_;
};

}  // namespace flops::coordinator
