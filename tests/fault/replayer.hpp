// A stranger on the broker who has heard everything that devices and coordinator said to each other, and says it again.
// It has a certificate of the fleet's CA and rights on all topics, which nobody in a real fleet has but the
// coordinator: the strongest form of messages that come twice, late, or in another order.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fleet.hpp"
#include "flops/mqtt/client.hpp"
#include "stage.hpp"

namespace flops::faults {

class Replayer {
 public:
  // Waits until it hears.
  [[nodiscard]] static Result<std::unique_ptr<Replayer>> join(Stage& stage, Fleet& fleet);

  // What was said, its own words left out, in order: commands, answers and chunks.
  [[nodiscard]] const std::vector<mqtt::Message>& heard() const { return heard_; }
  // Everything that is said from now on is said twice.
  void echo(bool on) { echo_ = on; }
  // Returns when the broker has taken all of them.
  [[nodiscard]] Result<> say(const std::vector<mqtt::Message>& messages);

 private:
  explicit Replayer(Stage& stage) : stage_(stage) {}
  [[nodiscard]] Result<> connect(Fleet& fleet, const std::string& folder);
  void hear(mqtt::Message message);
  void publish(const mqtt::Message& message);

  Stage& stage_;
  std::unique_ptr<mqtt::Client> client_;
  std::vector<mqtt::Message> heard_;
  std::multiset<std::pair<std::string, std::string>> own_;  // said, and not come back yet
  std::size_t unsaid_ = 0;
  bool connected_ = false;
  bool echo_ = false;
};

}  // namespace flops::faults
