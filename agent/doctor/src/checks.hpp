// The single looks. Each gives at least one finding.
#pragma once

#include <optional>
#include <vector>

#include "flops/agent_config/config.hpp"
#include "flops/agent_doctor/doctor.hpp"
#include "flops/agent_enrol/enrol.hpp"

namespace flops::agent {

using Findings = std::vector<Finding>;

[[nodiscard]] Finding good(std::string subject, std::string text);
[[nodiscard]] Finding note(std::string subject, std::string text, std::string advice = {});
[[nodiscard]] Finding problem(std::string subject, std::string text, std::string advice);

// This machine: state folder, disk, clock (check_machine.cpp).
[[nodiscard]] Finding check_folder(const Config& config);
[[nodiscard]] Finding check_room(const Config& config);
[[nodiscard]] Finding check_clock_set(const Config& config, const Identity* identity, std::int64_t newest_time_seen);
[[nodiscard]] Findings check_datasets(const Config& config);

// The way to the fleet: identity, certificate, names, ports, TLS (check_fleet.cpp).
[[nodiscard]] Finding check_identity(const Config& config, std::optional<Identity>& identity);
[[nodiscard]] Finding check_certificate(const Identity& identity);
[[nodiscard]] Findings check_names(const Identity& identity);
[[nodiscard]] Finding check_broker(const Identity& identity, std::int64_t newest_time_seen);
[[nodiscard]] Finding check_api(const Identity& identity);

// The program that trains (check_trainer.cpp).
[[nodiscard]] Findings check_trainer(const Config& config);

}  // namespace flops::agent
