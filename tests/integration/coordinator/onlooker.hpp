// The coordinator's host looks on, with the certificate that is there for it: what the broker retains, and what is
// said.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flops/mqtt/client.hpp"
#include "harness.hpp"

namespace flops::test {

class Onlooker {
 public:
  // Connected and subscribed to these, under the fleet's topics.
  Onlooker(CoordinatorProcess& coordinator, const std::vector<std::string>& filters);

  void subscribe(const std::string& filter);
  // Of each topic the last payload, as the broker retains it.
  [[nodiscard]] const std::map<std::string, std::string>& retained() const { return retained_; }
  // Topics of the blobs' chunks that are retained.
  [[nodiscard]] std::size_t chunks(const std::string& blob = "") const;
  [[nodiscard]] const std::vector<mqtt::Message>& heard() const { return heard_; }

 private:
  CoordinatorProcess& coordinator_;
  std::map<std::string, std::string> retained_;
  std::vector<mqtt::Message> heard_;
  std::unique_ptr<mqtt::Client> client_;  // last: gone first
};

}  // namespace flops::test
