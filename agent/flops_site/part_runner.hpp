// Carries out jobs as parts on a site's coordinator: hands the part over, waits for its end, brings the outcome back.
#pragma once

#include <vector>

#include "flops/worker/worker.hpp"
#include "site_api.hpp"

namespace flops::site {

class PartRunner final : public worker::Runner {
 public:
  explicit PartRunner(SiteOptions options) : api_(std::move(options)) {}

  // A coordinator that cannot be reached, or that cannot do it now, is asked again for as long as the job lasts, and
  // the phase is `unreachable` meanwhile. permanent: it refuses the part, or the part failed, with its words.
  // cancelled: the part is taken back when the agent cancelled it, and goes on at the site when the job was suspended
  // or the agent is gone: it is found there when the job comes again.
  [[nodiscard]] Result<trainer::JobReport> run(const trainer::Job& job, const std::vector<Fd>& descriptors,
                                               worker::JobObserver& observer) override;

 private:
  const SiteApi api_;
};

}  // namespace flops::site
