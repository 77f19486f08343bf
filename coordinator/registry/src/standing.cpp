// The rules of a device's life.
#include <array>
#include <utility>

#include "flops/registry/devices.hpp"

namespace flops::registry {
namespace {

constexpr std::array<std::pair<Standing, std::string_view>, 4> standings{{{Standing::pending, "pending"},
                                                                          {Standing::accepted, "accepted"},
                                                                          {Standing::quarantined, "quarantined"},
                                                                          {Standing::revoked, "revoked"}}};

}  // namespace

std::string_view to_string(Standing standing) {
  for (const auto& [value, name] : standings) {
    if (value == standing) {
      return name;
    }
  }
  return "";
}

Result<Standing> parse_standing(std::string_view text) {
  for (const auto& [value, name] : standings) {
    if (name == text) {
      return value;
    }
  }
  return fail(ErrorKind::corrupt, "'{}' is no state of a device", text.substr(0, 32));
}

bool may_become(Standing from, Standing to) {
  switch (to) {
    case Standing::accepted: return from == Standing::pending || from == Standing::quarantined;
    case Standing::quarantined: return from == Standing::accepted;
    case Standing::revoked: return from != Standing::revoked;
    case Standing::pending: return false;
  }
  return false;
}

bool asks_again(const EnrolmentTokenRow& token, const std::optional<Holder>& holder, const Newcomer& newcomer) {
  return holder && holder->public_key == newcomer.public_key && holder->token == token.id;
}

Enrolment judge_enrolment(const std::optional<EnrolmentTokenRow>& token, const std::optional<Holder>& holder,
                          const Newcomer& newcomer, std::int64_t now) {
  if (!token) {
    return Enrolment::token_unknown;
  }
  const bool again = asks_again(*token, holder, newcomer);
  if (token->uses_left <= 0 && !again) {
    return Enrolment::token_used;
  }
  if (token->expires_at <= now && !again) {
    return Enrolment::token_expired;
  }
  if (newcomer.role && *newcomer.role != token->role) {
    return Enrolment::token_role;
  }
  if (token->only_for && *token->only_for != newcomer.device) {
    return Enrolment::token_device;
  }
  if (!holder) {
    return Enrolment::done;
  }
  const bool revoked = holder->standing == Standing::revoked;
  if (holder->public_key == newcomer.public_key) {
    return revoked ? Enrolment::device_revoked : Enrolment::done;
  }
  if (!token->only_for) {
    return revoked ? Enrolment::device_revoked : Enrolment::device_exists;
  }
  return Enrolment::done;
}

bool renewal_is_due(std::int64_t not_before, std::int64_t not_after, std::int64_t now) {
  // One that is not valid yet is from a time when the clock was ahead.
  return now < not_before || now >= not_before + (not_after - not_before) / 2;
}

}  // namespace flops::registry
