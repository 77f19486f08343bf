// A device without a trainer or a database: really enrolled, and connected with the agent's own link. Says what an
// agent says after a connect (state, hello), and keeps count of how its connection goes.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "flops/agent_config/config.hpp"
#include "flops/core/error.hpp"
#include "link.hpp"

namespace flops::test {

class SimulatedDevice {
 public:
  struct Counts {
    std::uint64_t attempts = 0;
    std::uint64_t failed = 0;        // because nobody was there
    std::uint64_t refused = 0;       // although somebody was there
    std::uint64_t links = 0;         // connected and subscribed
    std::uint64_t losses_again = 0;  // a link that ended although nothing struck
  };

  // Blocks while it enrols. `serving`: the broker has let somebody in since it was last struck;
  // set by whoever gets in, shared by the fleet.
  [[nodiscard]] static Result<std::unique_ptr<SimulatedDevice>> enrol(const boost::asio::any_io_executor& loop,
                                                                      const std::filesystem::path& folder,
                                                                      const std::string& name,
                                                                      const std::string& coordinator,
                                                                      const std::string& token, bool& serving);
  void connect() { link_->start(); }
  // What comes from here on belongs to the next figures. As if the device were restarted: another session, so that the
  // coordinator needs its hello, which carries the label "generation", and asks for one that got lost.
  void new_generation(std::uint64_t generation);

  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] std::chrono::seconds window() const { return window_; }
  // State and hello of this generation are acknowledged by the broker.
  [[nodiscard]] bool back() const { return back_; }
  [[nodiscard]] std::chrono::steady_clock::time_point linked_at() const { return linked_at_; }
  [[nodiscard]] std::chrono::steady_clock::time_point back_at() const { return back_at_; }

 private:
  explicit SimulatedDevice(bool& serving) : serving_(serving) {}
  void linked();
  void say_hello();
  [[nodiscard]] std::string session() const;
  void lost();
  void heard(const mqtt::Message& message);

  bool& serving_;
  DeviceId id_;
  std::uint64_t generation_ = 0;
  Counts counts_;
  std::chrono::seconds window_{0};
  bool began_while_serving_ = false;
  bool back_ = false;
  bool loss_expected_ = false;
  std::chrono::steady_clock::time_point linked_at_, back_at_;
  std::unique_ptr<agent::Link> link_;
};

}  // namespace flops::test
