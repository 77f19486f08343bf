// What the registry keeps of devices, of those who may do something with them, and the rules of a device's life. Pure.
//
//   pending --approve--> accepted <--approve-- quarantined      any --revoke--> revoked
//                           \----quarantine------^
//
// pending: enrolled with a token that asks for an approval by hand; has no certificate. quarantined: stays connected
// and can be looked at, gets no work, and none of its updates counts. revoked: its key never comes back; the id does,
// with a token that is made for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/wire/messages.hpp"

namespace flops::registry {

enum class Role { viewer, operate, admin };
[[nodiscard]] std::string_view to_string(Role role);
[[nodiscard]] std::optional<Role> parse_role(std::string_view text);

// Whose API token it is.
struct ApiCaller {
  std::string name;
  Role role = Role::viewer;
};
struct ApiTokenRow {
  ApiCaller caller;
  std::int64_t created_at = 0;  // ms
};

enum class Standing { pending, accepted, quarantined, revoked };
[[nodiscard]] std::string_view to_string(Standing standing);
// corrupt: it is none.
[[nodiscard]] Result<Standing> parse_standing(std::string_view text);
[[nodiscard]] bool may_become(Standing from, Standing to);

// Of a token that is made; only the digest of its secret is stored.
struct NewToken {
  Digest secret;
  std::int64_t uses = 1;
  std::int64_t expires_at = 0;  // ms
  std::string note = {};
  wire::Role role = wire::Role::device;   // of those who enrol with it
  bool by_hand = false;                   // they wait for an approval
  std::optional<DeviceId> only_for = {};  // this device, also with another key than the one it had
};

struct EnrolmentTokenRow {
  std::int64_t id = 0;
  std::string note;
  std::int64_t uses_left = 0;
  std::int64_t expires_at = 0;  // ms
  std::int64_t created_at = 0;
  wire::Role role = wire::Role::device;
  bool by_hand = false;
  std::optional<DeviceId> only_for = {};
};

struct DeviceRow {
  DeviceId id;
  Standing standing = Standing::accepted;
  std::string public_key;  // digest of the SubjectPublicKeyInfo
  std::string certificate_serial;
  std::int64_t certificate_not_after = 0;  // s; 0: it has none yet
  std::int64_t enrolled_at = 0;            // ms
  std::int64_t last_seen = 0;              // ms
  std::optional<wire::Hello> hello;        // its latest
  wire::Role role = wire::Role::device;    // by its enrolment
  std::string reason = {};                 // of its standing
  wire::Configuration wanted = {};         // version 0: nothing
};

struct Newcomer {
  DeviceId device;
  std::string public_key;                         // digest of the SubjectPublicKeyInfo
  std::optional<wire::Role> role = std::nullopt;  // none: it does not say
};

struct IssuedCertificate {
  std::string serial;
  std::int64_t not_before = 0;  // s
  std::int64_t not_after = 0;   // s
  std::string pem;
};

enum class Enrolment {
  done,
  pending,  // noted; it gets its certificate when it asks again after the approval
  token_unknown,
  token_used,
  token_expired,
  token_role,      // the token is for sites and this is none, or the other way round
  token_device,    // the token is for another device
  device_exists,   // with another key
  device_revoked,  // with this key, or the token is not for this device
};
struct Admission {
  Enrolment outcome = Enrolment::token_unknown;
  bool key_replaced = false;  // what the device had before is revoked
};
// What is known of the id already.
struct Holder {
  std::string public_key;
  std::int64_t token = 0;  // that it enrolled with last
  Standing standing = Standing::accepted;
};
// done also when it has to wait. Who enrolled last with this token and key only asks again: its answer was lost, or it
// waits for approval.
[[nodiscard]] Enrolment judge_enrolment(const std::optional<EnrolmentTokenRow>& token,
                                        const std::optional<Holder>& holder, const Newcomer& newcomer,
                                        std::int64_t now);
// It has been given this before.
[[nodiscard]] bool asks_again(const EnrolmentTokenRow& token, const std::optional<Holder>& holder,
                              const Newcomer& newcomer);

struct Renewal {
  enum class Outcome {
    issued,
    current,         // it has one that is good for long: the same again
    unknown_device,  // or it was never accepted
    wrong_key,
    revoked,
    too_late,  // its certificate expired too long ago
  };
  Outcome outcome = Outcome::unknown_device;
  std::string pem;
};
// Of a certificate: in the second half of its life. Devices ask after two thirds of it, by clocks of their own.
[[nodiscard]] bool renewal_is_due(std::int64_t not_before, std::int64_t not_after, std::int64_t now);

struct RevokedRow {
  std::string serial;
  std::int64_t revoked_at = 0;  // s
};

struct AuditRow {
  std::int64_t at = 0;  // ms
  std::string who;      // the name of an API token, or "coordinator", or "token <id>" of an enrolment
  std::string action;
  std::string target;
  std::string detail;
};

}  // namespace flops::registry
