// The whole coordinator: opens its state, runs its broker, serves API and fleet until it is told to stop.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include "flops/coordinator/config.hpp"
#include "flops/core/error.hpp"

namespace flops::coordinator {

class Coordinator {
 public:
  // Everything that can be wrong at a start is an error here: state folder in use, database damaged, port taken,
  // broker program missing. `failed` is called when it cannot go on later.
  [[nodiscard]] static Result<std::unique_ptr<Coordinator>> start(boost::asio::any_io_executor loop, Config config);
  virtual ~Coordinator() = default;
  // The configuration file was changed: what can be taken while it runs is (log_level, [enrolment], [reconnect]),
  // the rest at the next start.
  virtual void reload(const Config& config) = 0;
  // Goes offline properly (status, DISCONNECT, broker ended); `done` within seconds.
  virtual void stop(std::function<void()> done) = 0;
};

}  // namespace flops::coordinator
