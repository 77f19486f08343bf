// The HTTPS API: routes, roles, JSON. docs/protocol.md lists every request.
#pragma once

#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <expected>

#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>

#include "credentials.hpp"
#include "device_life.hpp"
#include "fleet.hpp"
#include "flops/http/server.hpp"
#include "reports.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

struct BrokerEndpoint {
  std::string host;  // as devices reach it
  std::uint16_t port = 0;
};

class Api {
 public:
  struct Parts {
    boost::asio::any_io_executor loop;
    const Config& config;
    const Clock& clock;
    registry::Registry& registry;
    Fleet& fleet;
    RunController& runs;
    const Credentials& credentials;
    DeviceLife& life;
    Reports& reports;
    BrokerAccess& broker_access;
    BrokerEndpoint broker;
    aggregation::ModelFolder models;
    Worker& worker;
    std::function<std::string()> not_ready;  // why, or empty
    std::function<boost::json::object()> status;
  };
  explicit Api(Parts parts);

  void handle(const http::Request& request, http::Reply reply);
  // A model that is put goes into a file; who may not put one is told so before it is sent.
  [[nodiscard]] http::BodyPlan plan_body(const http::Request& head);
  // Something about a run changed: answers requests that wait for that.
  void changed();
  void stop();

 private:
  struct Waiting {
    RunId run;
    std::int64_t after;
    SteadyTime until;
    http::Reply reply;
  };
  // Whose token the request has, or why there is none.
  [[nodiscard]] std::expected<registry::ApiCaller, http::Response> caller_of(const http::Request& request);
  [[nodiscard]] std::optional<http::Response> route_open(const http::Request& request);
  [[nodiscard]] http::Response health(const std::string& path) const;
  [[nodiscard]] http::Response enrol(const http::Request& request);
  [[nodiscard]] http::Response renew(const http::Request& request);
  [[nodiscard]] http::Response route(const http::Request& request, const registry::ApiCaller& caller);
  [[nodiscard]] std::optional<http::Response> route_admin(const http::Request& request,
                                                          const registry::ApiCaller& caller);
  [[nodiscard]] http::Response make_token(const http::Request& request, const registry::ApiCaller& caller);
  [[nodiscard]] http::Response list_tokens();

  // Devices (api_devices.cpp). `rest`: of the path, behind "/v1/devices".
  [[nodiscard]] http::Response route_device(const http::Request& request, const std::string& rest,
                                            const registry::ApiCaller& caller);
  [[nodiscard]] http::Response set_standing(const Device& device, const std::string& verb, const http::Request& request,
                                            const registry::ApiCaller& caller);
  [[nodiscard]] http::Response configure(const Device& device, const http::Request& request,
                                         const registry::ApiCaller& caller);
  [[nodiscard]] bool ask_report(const http::Request& request, const registry::ApiCaller& caller, http::Reply& reply);
  // API tokens and the audit log (api_access.cpp).
  [[nodiscard]] http::Response make_access(const http::Request& request, const registry::ApiCaller& caller);
  [[nodiscard]] http::Response list_access();
  [[nodiscard]] http::Response remove_access(const std::string& name, const registry::ApiCaller& caller);
  [[nodiscard]] http::Response audit_log(const http::Request& request);

  [[nodiscard]] http::Response start_run(const http::Request& request);
  [[nodiscard]] http::Response stop_run(const std::string& id, const registry::ApiCaller& caller);
  [[nodiscard]] http::Response list_runs();
  [[nodiscard]] http::Response show_run(const RunId& run);
  [[nodiscard]] rounds::Tree tree_of(const registry::RunRow& run) const;
  [[nodiscard]] Result<std::map<rounds::ClusterId, boost::json::object>> clusters_of(
      const registry::RunRow& run, const std::vector<registry::RoundRow>& rounds) const;
  [[nodiscard]] Result<std::optional<registry::RunRow>> run_with_clusters();
  [[nodiscard]] http::Response list_clusters();
  [[nodiscard]] http::Response show_cluster(const std::string& cluster);
  [[nodiscard]] http::Response list_models();
  [[nodiscard]] http::Response get_model(const std::string& digest);

  // Projects (api_projects.cpp). `rest`: of the path, behind "/v1/projects".
  [[nodiscard]] http::Response route_project(const http::Request& request, const std::string& rest,
                                             const registry::ApiCaller& caller);
  [[nodiscard]] http::Response submit_project(const http::Request& request, const registry::ApiCaller& caller);
  [[nodiscard]] http::Response list_projects();
  [[nodiscard]] http::Response show_project(const registry::ProjectRow& project);
  [[nodiscard]] http::Response change_project(const registry::ProjectRow& project, const std::string& verb,
                                              const registry::ApiCaller& caller);
  [[nodiscard]] http::Response delete_project(const registry::ProjectRow& project, const registry::ApiCaller& caller);
  [[nodiscard]] Result<boost::json::object> project_object(const registry::ProjectRow& project,
                                                           const std::vector<registry::RunRow>& runs);
  [[nodiscard]] std::optional<http::Response> refuse_change(const registry::RunRow& run,
                                                            const registry::ApiCaller& caller);

  // Parts of another coordinator's run (api_parts.cpp). `rest`: of the path, behind "/v1/parts".
  [[nodiscard]] http::Response route_part(const http::Request& request, const std::string& rest);
  [[nodiscard]] http::Response ask_part(const http::Request& request);
  [[nodiscard]] http::Response known_part(const registry::AskedPart& part, const rounds::PartRequest& request);
  [[nodiscard]] http::Response list_parts();
  [[nodiscard]] http::Response show_part(const registry::AskedPart& part);
  [[nodiscard]] http::Response get_sum(const registry::AskedPart& part);
  [[nodiscard]] http::Response forget_part(const registry::AskedPart& part);
  [[nodiscard]] Result<boost::json::object> part_result(const registry::AskedPart& part, const registry::RunRow& run);
  void put_model(const http::Request& request, http::Reply reply);
  [[nodiscard]] bool wait_for_run(const http::Request& request, http::Reply& reply);
  void arm();

  Parts parts_;
  std::list<Waiting> waiting_;
  boost::asio::steady_timer timer_;
};

}  // namespace flops::coordinator
