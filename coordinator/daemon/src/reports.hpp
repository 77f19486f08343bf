// What devices are asked to tell of themselves, for people: their newest log lines, a diagnosis. A question waits for
// the pieces of its answer, bounded in number, size and time. Loop's thread.
#pragma once

#include <map>
#include <string>

#include "flops/core/clock.hpp"
#include "flops/core/id.hpp"
#include "flops/http/server.hpp"
#include "flops/wire/messages.hpp"
#include "link.hpp"

namespace flops::coordinator {

class Reports {
 public:
  Reports(const Clock& clock, Link& link) : clock_(clock), link_(link) {}

  // `kind`: log, diagnosis. Answered with the text, or with 504 after half a minute.
  void ask(const DeviceId& device, std::string_view kind, http::Reply reply);
  void on_report(const DeviceId& device, wire::Report report);
  void tick();
  void stop() { open_.clear(); }

 private:
  struct Open {
    DeviceId device;
    std::string kind;
    http::Reply reply;
    SteadyTime until;
    std::map<std::int64_t, std::string> parts;
  };

  const Clock& clock_;
  Link& link_;
  std::map<std::string, Open> open_;  // by request
};

}  // namespace flops::coordinator
