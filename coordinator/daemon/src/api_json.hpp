// Records as the JSON of the API.
#pragma once

#include <string>

#include <boost/json.hpp>

#include "cluster_view.hpp"
#include "fleet.hpp"
#include "flops/http/server.hpp"
#include "flops/registry/registry.hpp"
#include "flops/wire/messages.hpp"
#include "link.hpp"

namespace flops::coordinator {

[[nodiscard]] boost::json::object device_json(const Device& device);
[[nodiscard]] boost::json::object round_json(const registry::RoundRow& round);
// `rounds` gives the totals and the newest metrics.
[[nodiscard]] boost::json::object run_json(const registry::RunRow& run, const std::vector<registry::RoundRow>& rounds);
// Of a cluster: what it does, its bytes, the newest model of its own, and how good the newest model of a cycle is
// there.
[[nodiscard]] boost::json::object cluster_json(const rounds::ClusterId& cluster, const ClusterView& view,
                                               const std::vector<registry::RoundRow>& rounds,
                                               const std::vector<registry::ClusterFigures>& figures);
// What devices are told, and how full the inbox (messages waiting for the loop) has been since the start.
[[nodiscard]] boost::json::object status_json(const wire::CoordinatorStatus& status, const Fleet& fleet,
                                              const Link& link, std::size_t inbox_bytes);
[[nodiscard]] boost::json::object model_json(const registry::ModelRow& model);

[[nodiscard]] http::Response json_response(int status, const boost::json::object& body);
[[nodiscard]] http::Response error_response(int status, std::string_view code, std::string_view message);
// The status that fits the kind of error.
[[nodiscard]] http::Response error_response(const Error& error);

}  // namespace flops::coordinator
