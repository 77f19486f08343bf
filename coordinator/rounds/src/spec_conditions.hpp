// The fields schedule, goal and requirements of a run specification.
#pragma once

#include <string>
#include <vector>

#include <boost/json.hpp>

#include "flops/rounds/run_spec.hpp"

namespace flops::rounds {

void read_schedule(const boost::json::value* value, Schedule& schedule, std::vector<std::string>& problems);
void read_goal(const boost::json::value* value, Goal& goal, std::vector<std::string>& problems);
void read_requirements(const boost::json::value* value, Requirements& wanted, std::vector<std::string>& problems);

[[nodiscard]] boost::json::object schedule_object(const Schedule& schedule);
[[nodiscard]] boost::json::object goal_object(const Goal& goal);
[[nodiscard]] boost::json::object requirements_object(const Requirements& wanted);

}  // namespace flops::rounds
