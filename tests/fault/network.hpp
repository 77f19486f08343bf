// A network for one row: every device in a namespace of its own, connected to the coordinator's by a cable (veth) and a
// bridge. Links are cut by dropping packets, so that both ends believe in a connection that carries nothing. All of it
// lives in the row's own namespaces and goes with them.
#pragma once

#include <string>

#include "fleet.hpp"
#include "stage.hpp"

namespace flops::faults {

class Network {
 public:
  // Puts the fleet's agents into their namespaces; before anything is started.
  [[nodiscard]] static Result<Network> lay(Stage& stage, Fleet& fleet);

  // Both directions between this device and the coordinator.
  [[nodiscard]] Result<> cut(int device);
  [[nodiscard]] Result<> mend(int device);

 private:
  explicit Network(Stage& stage) : stage_(&stage) {}
  [[nodiscard]] Result<> filter(const std::string& change, int device);
  Stage* stage_;
};

}  // namespace flops::faults
