// Models and sums between the agent's memory and a site's coordinator. Each call may be done again after an error.
// `alive` is asked with every piece; its error ends the transfer and is passed on. Errors besides: those of SiteApi;
// permanent: what came is not what was announced.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/tensor/layout.hpp"
#include "site_api.hpp"

namespace flops::site {

using Alive = std::function<Result<>()>;

// `file`: raw float32 in layout order.
[[nodiscard]] Result<> send_model(const SiteApi& api, const Digest& model, const tensor::Layout& layout, int file,
                                  const Alive& alive);
// Into `file`, which has the layout's size or is sized to it.
[[nodiscard]] Result<> fetch_model(const SiteApi& api, const Digest& model, const tensor::Layout& layout, int file,
                                   const Alive& alive);
// The part's exact sum of `bytes` bytes into `file`, which is sized to it. Refused before anything is fetched: more
// bytes than a sum of this layout has.
[[nodiscard]] Result<> fetch_sum(const SiteApi& api, const std::string& key, const tensor::Layout& layout,
                                 std::uint64_t bytes, int file, const Alive& alive);

}  // namespace flops::site
