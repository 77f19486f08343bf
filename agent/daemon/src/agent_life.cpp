// The device's place in the fleet: its certificate, what the operator wants of it, what it tells of itself when asked.
#include <algorithm>

#include "agent.hpp"
#include "flops/agent_doctor/doctor.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"

namespace flops::agent {
namespace {

constexpr const char* wanted_key = "configuration";
constexpr std::chrono::minutes ask_again_after{10};

std::int64_t now_seconds() {
  return unix_ms(SystemClock().wall()) / 1000;
}

// After two thirds of its life.
bool is_due(const CertificateLife& life, std::int64_t now) {
  return now >= life.not_before + (life.not_after - life.not_before) / 3 * 2;
}

// What people read on another machine: no control characters, and nothing that is no JSON.
std::string plain(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return (c < 0x20 && c != '\n') || c >= 0x7f; }, '?');
  return text;
}

}  // namespace

void Agent::read_certificate_life() {
  if (auto life = certificate_life(identity_)) {
    certificate_life_ = *life;
  } else {
    log::error("identity", "{}", life.error().what);
  }
}

// Over the session there is: no further port, and no gap. The next connection shows the new certificate.
void Agent::watch_certificate() {
  const auto now = std::chrono::steady_clock::now();
  if (!link_ || !link_->up() || !is_due(certificate_life_, now_seconds()) || now < renewal_asked_ + ask_again_after) {
    return;
  }
  renewal_asked_ = now;
  auto request = renewal_request(identity_);
  if (!request) {
    log::error("identity", "the certificate cannot be renewed: {}", request.error().what);
    return;
  }
  log::info("identity", "asking for a new certificate; this one ends {}", iso8601(certificate_life_.not_after * 1000));
  say("renew", wire::Renew{*std::move(request)});
}

void Agent::on_certificate(const wire::Certificate& message) {
  const std::int64_t before = certificate_life_.not_after;
  if (auto accepted = accept_certificate(identity_, message.certificate); !accepted) {
    // Asked for twice, it may come twice.
    log::warn("identity", "{}", accepted.error().what);
    return;
  }
  read_certificate_life();
  clear(identity_condition);
  log::info("identity", "the certificate is renewed, from {} to {}", iso8601(before * 1000),
            iso8601(certificate_life_.not_after * 1000));
}

// A device that was away for longer than its certificate lasted: the broker does not let it in any more, and the
// coordinator's API still knows its key.
void Agent::renew_expired_certificate() {
  const auto now = std::chrono::steady_clock::now();
  const bool expired = certificate_life_.not_after > 0 && now_seconds() > certificate_life_.not_after;
  if (!expired || renewing_expired_ || stopping_ || now < renewal_asked_ + ask_again_after) {
    return;
  }
  renewal_asked_ = now;
  renewing_expired_ = true;
  worker_.run([this, identity = identity_]() -> Worker::After {
    return [this, renewed = renew_expired(identity)] { renewed_expired(renewed); };
  });
}

void Agent::renewed_expired(const Result<>& renewed) {
  renewing_expired_ = false;
  if (renewed) {
    read_certificate_life();
    clear(identity_condition);
    renewal_problem_.clear();
    log::info("identity", "the certificate is renewed, to {}", iso8601(certificate_life_.not_after * 1000));
    return;
  }
  // The same problem for weeks is a line, not thousands.
  if (std::exchange(renewal_problem_, renewed.error().what) != renewed.error().what) {
    log::warn("identity", "the certificate expired {}: {}; asking {} again every {} minutes",
              iso8601(certificate_life_.not_after * 1000), renewed.error().what, identity_.coordinator,
              ask_again_after.count());
  }
  if (renewed.error().kind == ErrorKind::clock) {
    raise(clock_condition, renewed.error().what);
  } else if (renewed.error().kind == ErrorKind::denied) {
    raise(identity_condition, renewed.error().what);
  }
}

void Agent::on_notice(const wire::Notice& notice) {
  if (notice.state == "quarantined") {
    raise(quarantined_condition, notice.reason.empty() ? "the operator has quarantined this device" : notice.reason);
  } else {
    clear(quarantined_condition);
  }
}

void Agent::recall_configuration() {
  auto stored = storage_.meta(wanted_key);
  if (!stored || !*stored) {
    return;
  }
  auto wanted = wire::decode<wire::Configuration>(**stored);
  if (!wanted) {
    log::warn("configuration", "what the operator wanted cannot be read any more: {}", wanted.error().what);
    return;
  }
  wanted_ = *std::move(wanted);
  apply_configuration();
}

void Agent::on_configuration(const wire::Configuration& wanted) {
  if (wanted == wanted_) {
    return;
  }
  wanted_ = wanted;
  if (auto stored = storage_.put_meta(wanted_key, wire::encode(wanted_)); !stored) {
    log::warn("configuration", "recording what the operator wants: {}", stored.error().what);  // it is sent again
  }
  apply_configuration();
  publish_state_if_changed();
  say_hello();  // labels are in it
}

// What is wrong is said, and nothing of it taken: half of a wish is another wish.
void Agent::apply_configuration() {
  auto config = with_wishes(file_config_, wanted_.labels, wanted_.settings);
  wanted_problem_ = config ? "" : std::string(health::cut(config.error().what, wire::max_reason));
  if (!config) {
    log::warn("configuration", "what the operator wants (version {}) is not taken: {}", wanted_.version,
              config.error().what);
    return;
  }
  config_ = *std::move(config);
  auto level = log::Level::info;
  if (log::parse_level(config_.log_level, level)) {
    log::set_level(level);
  }
  governor_.configure(config_.conditions);
  log::info("configuration", "working with version {} of what the operator wants", wanted_.version);
}

void Agent::reload(const Config& config) {
  manager_.reloading();
  Config fresh = file_config_;
  fresh.log_level = config.log_level;
  fresh.labels = config.labels;
  fresh.conditions = config.conditions;
  fresh.datasets = config.datasets;
  fresh.offline_continue = config.offline_continue;
  file_config_ = std::move(fresh);
  config_ = file_config_;
  apply_configuration();
  survey_datasets();
  log::info("configuration",
            "read again: log_level, [labels], [conditions], [offline] and [[dataset]] are in force; the "
            "rest is after a restart");
  publish_state_if_changed();
  if (link_->up()) {
    say_hello();
  }
  manager_.ready();
}

void Agent::on_report_request(const wire::ReportRequest& request) {
  if (request.kind == "log") {
    report(request.request, fmt::format("{}\n", fmt::join(log::kept(), "\n")));
  } else if (request.kind == "diagnosis" && diagnosing_) {
    report(request.request, "this agent is at another diagnosis: ask again in a minute\n");
  } else if (request.kind == "diagnosis") {
    diagnosing_ = true;  // it may take a minute in which the worker does nothing else
    worker_.run([this, id = request.request, config = config_, newest = time_remembered_]() -> Worker::After {
      return [this, id, text = to_text(examine(config, newest))] {
        diagnosing_ = false;
        report(id, text);
      };
    });
  } else {
    report(request.request, fmt::format("this agent cannot tell a '{}'\n", request.kind.substr(0, 32)));
  }
}

void Agent::report(const std::string& request, std::string text) {
  constexpr std::size_t most = wire::max_report_part * static_cast<std::size_t>(wire::max_report_parts);
  text = plain(text.substr(text.size() - std::min(text.size(), most)));
  const std::size_t parts = std::max<std::size_t>(1, (text.size() + wire::max_report_part - 1) / wire::max_report_part);
  for (std::size_t part = 0; part < parts; ++part) {
    say("report", wire::Report{request, static_cast<std::int64_t>(part + 1), static_cast<std::int64_t>(parts),
                               text.substr(part * wire::max_report_part, wire::max_report_part)});
  }
}

}  // namespace flops::agent
