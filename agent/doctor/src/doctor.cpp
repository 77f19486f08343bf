#include "flops/agent_doctor/doctor.hpp"

#include <algorithm>

#include <boost/json.hpp>

#include "checks.hpp"

namespace flops::agent {
namespace {

std::string_view to_string(Finding::Verdict verdict) {
  switch (verdict) {
    case Finding::Verdict::good: return "good";
    case Finding::Verdict::note: return "note";
    case Finding::Verdict::problem: return "problem";
  }
  return "";
}

void add(Findings& to, Findings more) {
  std::ranges::move(more, std::back_inserter(to));
}

}  // namespace

Finding good(std::string subject, std::string text) {
  return {std::move(subject), Finding::Verdict::good, std::move(text), {}};
}

Finding note(std::string subject, std::string text, std::string advice) {
  return {std::move(subject), Finding::Verdict::note, std::move(text), std::move(advice)};
}

Finding problem(std::string subject, std::string text, std::string advice) {
  return {std::move(subject), Finding::Verdict::problem, std::move(text), std::move(advice)};
}

std::vector<Finding> examine(const Config& config, std::int64_t newest_time_seen) {
  Findings findings;
  std::optional<Identity> identity;
  findings.push_back(check_folder(config));
  findings.push_back(check_room(config));
  findings.push_back(check_identity(config, identity));
  findings.push_back(check_clock_set(config, identity ? &*identity : nullptr, newest_time_seen));
  if (identity) {
    findings.push_back(check_certificate(*identity));
    add(findings, check_names(*identity));
    findings.push_back(check_broker(*identity, newest_time_seen));
    findings.push_back(check_api(*identity));
  }
  if (!config.is_uplink()) {
    add(findings, check_trainer(config));
    add(findings, check_datasets(config));
  }
  return findings;
}

std::vector<Finding> examine_datasets(const Config& config) {
  return check_datasets(config);
}

bool has_problem(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings,
                             [](const Finding& finding) { return finding.verdict == Finding::Verdict::problem; });
}

std::string to_text(const std::vector<Finding>& findings) {
  std::size_t width = 0;
  for (const Finding& finding : findings) {
    width = std::max(width, finding.subject.size());
  }
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<7}  {:<{}}  {}\n", to_string(finding.verdict), finding.subject, width, finding.text);
    if (!finding.advice.empty()) {
      text += fmt::format("{:<7}  {:<{}}  -> {}\n", "", "", width, finding.advice);
    }
  }
  return text;
}

std::string to_json(const std::vector<Finding>& findings) {
  boost::json::array all;
  for (const Finding& finding : findings) {
    all.emplace_back(boost::json::object{{"subject", finding.subject},
                                         {"verdict", to_string(finding.verdict)},
                                         {"text", finding.text},
                                         {"advice", finding.advice}});
  }
  return boost::json::serialize(boost::json::object{{"findings", std::move(all)}});
}

}  // namespace flops::agent
