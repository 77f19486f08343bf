// Enrolment tokens, devices and what they become.
#include <algorithm>

#include "flops/core/log.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {

using store::Row;

namespace {

wire::Role role_of(const std::string& text) {
  return text == wire::to_string(wire::Role::cluster) ? wire::Role::cluster : wire::Role::device;
}

std::optional<DeviceId> device_of(const std::string& text) {
  auto id = DeviceId::parse(text);
  return id ? std::optional<DeviceId>(*std::move(id)) : std::nullopt;
}

constexpr std::string_view token_columns = "id, note, uses_left, expires_at, created_at, role, by_hand, device";

EnrolmentTokenRow token_of(const Row& row) {
  return {row.integer(0), row.text(1),          row.integer(2),      row.integer(3),
          row.integer(4), role_of(row.text(5)), row.integer(6) != 0, device_of(row.text(7))};
}

constexpr std::string_view device_columns =
    "id, state, public_key, certificate_serial, certificate_not_after, enrolled_at, last_seen, hello, role, reason, "
    "wanted";

Result<DeviceRow> device_row(const Row& row) {
  auto id = DeviceId::parse(row.text(0));
  auto standing = parse_standing(row.text(1));
  if (!id || !standing) {
    return fail(ErrorKind::corrupt, "devices: {}", id ? standing.error().what : id.error().what);
  }
  DeviceRow device{*id,         *standing, row.text(2), row.text(3), row.integer(4), row.integer(5), row.integer(6),
                   std::nullopt};
  if (auto hello = row.is_null(7) ? Result<wire::Hello>(fail(ErrorKind::corrupt, "none"))
                                  : wire::decode<wire::Hello>(row.text(7));
      hello) {
    device.hello = *std::move(hello);
  }
  device.role = role_of(row.text(8));
  device.reason = row.text(9);
  if (const std::string text = row.text(10); !text.empty()) {
    auto wanted = wire::decode<wire::Configuration>(text);
    if (!wanted) {  // one device's wishes must not hide the whole fleet
      log::error("registry", "what is wanted of {} cannot be read and is passed over: {}", *id, wanted.error().what);
    } else {
      device.wanted = *std::move(wanted);
    }
  }
  return device;
}

// A clock that was ahead for a while must not make a revoked certificate good again.
constexpr std::int64_t clock_doubt = std::int64_t{365} * 86'400;

std::int64_t seconds(std::int64_t ms) {
  return ms / 1000;
}

}  // namespace

Result<std::int64_t> Registry::add_enrolment_token(const NewToken& token) {
  const std::string hex = token.secret.hex();
  const std::string device = token.only_for ? token.only_for->str() : "";
  auto added = database_.run(
      "INSERT INTO enrolment_tokens(secret, note, uses_left, expires_at, created_at, role, by_hand, device) "
      "VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
      {hex, token.note, token.uses, token.expires_at, now(), wire::to_string(token.role), token.by_hand, device});
  if (!added) {
    return fail(added.error());
  }
  return database_.last_row_id();
}

Result<std::vector<EnrolmentTokenRow>> Registry::enrolment_tokens() {
  std::vector<EnrolmentTokenRow> rows;
  const std::string query = fmt::format("SELECT {} FROM enrolment_tokens ORDER BY id DESC LIMIT 1000", token_columns);
  auto read = database_.each(query, {}, [&](const Row& row) {
    rows.push_back(token_of(row));
    return Result<>();
  });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<Admission> Registry::enrol(const Digest& secret, const Newcomer& newcomer,
                                  const std::function<Result<IssuedCertificate>()>& issue) {
  const std::string hex = secret.hex();
  Admission admission;
  auto done = database_.transaction([&]() -> Result<> {
    std::optional<EnrolmentTokenRow> token;
    std::optional<Holder> holder;
    const std::string query = fmt::format("SELECT {} FROM enrolment_tokens WHERE secret = ?", token_columns);
    auto read = database_.each(query, {hex}, [&](const Row& row) {
      token = token_of(row);
      return Result<>();
    });
    read = !read ? read
                 : database_.each("SELECT public_key, token, state FROM devices WHERE id = ?", {newcomer.device.str()},
                                  [&](const Row& row) -> Result<> {
                                    auto standing = parse_standing(row.text(2));
                                    if (!standing) {
                                      return fail(standing.error());
                                    }
                                    holder = Holder{row.text(0), row.integer(1), *standing};
                                    return {};
                                  });
    if (!read) {
      return read;
    }
    admission.outcome = judge_enrolment(token, holder, newcomer, now());
    if (admission.outcome != Enrolment::done) {
      return {};
    }
    const bool same_key = holder && holder->public_key == newcomer.public_key;
    admission.key_replaced = holder && !same_key;
    const Standing standing = same_key ? holder->standing : token->by_hand ? Standing::pending : Standing::accepted;
    auto certificate = standing == Standing::pending ? Result<IssuedCertificate>(IssuedCertificate{}) : issue();
    if (!certificate) {
      return fail(certificate.error());
    }
    if (standing == Standing::pending) {
      admission.outcome = Enrolment::pending;
    }
    if (asks_again(*token, holder, newcomer)) {
      return certificate->pem.empty() ? Result<>() : add_certificate(newcomer.device, *certificate);
    }
    return admit(newcomer, *token, standing, admission.key_replaced, *certificate);
  });
  if (!done) {
    return fail(done.error());
  }
  return admission;
}

Result<> Registry::admit(const Newcomer& newcomer, const EnrolmentTokenRow& token, Standing standing, bool key_replaced,
                         const IssuedCertificate& certificate) {
  const auto& [device, public_key, role] = newcomer;
  if (auto revoked = key_replaced ? revoke_certificates(device) : Result<>(); !revoked) {
    return revoked;
  }
  auto written = database_.run(
      "INSERT INTO devices(id, state, public_key, certificate_serial, certificate_not_after, enrolled_at, last_seen, "
      "role, token) VALUES(?1, ?2, ?3, '', 0, ?4, 0, ?5, ?6) ON CONFLICT(id) DO UPDATE SET state = ?2, "
      "public_key = ?3, enrolled_at = ?4, role = ?5, token = ?6, "
      "reason = CASE WHEN state = ?2 THEN reason ELSE '' END",
      {device.str(), to_string(standing), public_key, now(), wire::to_string(token.role), token.id});
  if (!written) {
    return written;
  }
  if (auto added = certificate.pem.empty() ? Result<>() : add_certificate(device, certificate); !added) {
    return added;
  }
  auto used = database_.run("UPDATE enrolment_tokens SET uses_left = uses_left - 1 WHERE id = ?", {token.id});
  if (!used) {
    return used;
  }
  return note(fmt::format("token {}", token.id), key_replaced ? "enrolled with a new key" : "enrolled", device.str(),
              to_string(standing));
}

// Certificates that nobody can use any more are not needed.
Result<> Registry::add_certificate(const DeviceId& device, const IssuedCertificate& certificate) {
  auto added = database_.run(
      "INSERT OR REPLACE INTO certificates(serial, device, issued_at, not_after, pem) VALUES(?, ?, ?, ?, ?)",
      {certificate.serial, device.str(), certificate.not_before, certificate.not_after, certificate.pem});
  auto pruned = added ? database_.run(
                            "DELETE FROM certificates WHERE not_after < ?1 - CASE WHEN revoked_at > 0 THEN ?2 ELSE 0 "
                            "END AND serial NOT IN (SELECT certificate_serial FROM devices)",
                            {seconds(now()) - 86'400, clock_doubt})
                      : added;
  if (!pruned) {
    return pruned;
  }
  return database_.run("UPDATE devices SET certificate_serial = ?, certificate_not_after = ? WHERE id = ?",
                       {certificate.serial, certificate.not_after, device.str()});
}

Result<> Registry::revoke_certificates(const DeviceId& device) {
  return database_.run("UPDATE certificates SET revoked_at = ? WHERE device = ? AND revoked_at = 0",
                       {seconds(now()), device.str()});
}

Result<Renewal> Registry::renew(const DeviceId& device, const std::string& public_key,
                                std::chrono::milliseconds max_absence,
                                const std::function<Result<IssuedCertificate>()>& issue) {
  Renewal renewal;
  auto done = database_.transaction([&]() -> Result<> {
    std::optional<Holder> holder;
    IssuedCertificate newest;
    auto read = database_.each(
        "SELECT public_key, state, issued_at, not_after, pem FROM devices LEFT JOIN certificates "
        "ON serial = certificate_serial WHERE id = ?",
        {device.str()}, [&](const Row& row) -> Result<> {
          auto standing = parse_standing(row.text(1));
          if (!standing) {
            return fail(standing.error());
          }
          holder = Holder{row.text(0), 0, *standing};
          newest = {"", row.integer(2), row.integer(3), row.text(4)};
          return {};
        });
    if (!read) {
      return read;
    }
    using enum Renewal::Outcome;
    const std::int64_t time = seconds(now());
    const bool lasts = !newest.pem.empty() && !renewal_is_due(newest.not_before, newest.not_after, time);
    // To a stranger a device that there is is as unknown as one that there is not.
    renewal.outcome = !holder || holder->standing == Standing::pending         ? unknown_device
                      : holder->public_key != public_key                       ? wrong_key
                      : holder->standing == Standing::revoked                  ? revoked
                      : time - newest.not_after > seconds(max_absence.count()) ? too_late
                      : lasts                                                  ? current
                                                                               : issued;
    if (renewal.outcome == current) {
      renewal.pem = newest.pem;
    }
    if (renewal.outcome != issued) {
      return {};
    }
    auto certificate = issue();
    if (!certificate) {
      return fail(certificate.error());
    }
    renewal.pem = certificate->pem;
    return add_certificate(device, *certificate);
  });
  if (!done) {
    return fail(done.error());
  }
  return renewal;
}

Result<> Registry::set_standing(const DeviceId& device, Standing standing, std::string_view reason,
                                std::string_view who) {
  return database_.transaction([&]() -> Result<> {
    auto text = database_.text("SELECT state FROM devices WHERE id = ?", {device.str()});
    if (!text) {
      return fail(text.error());
    }
    if (!*text) {
      return fail(ErrorKind::permanent, "there is no device {}", device);
    }
    auto before = parse_standing(**text);
    if (!before) {
      return fail(before.error());
    }
    if (*before == standing) {
      return {};
    }
    if (!may_become(*before, standing)) {
      return fail(ErrorKind::permanent, "{} is {}, and cannot become {}{}", device, to_string(*before),
                  to_string(standing),
                  *before == Standing::revoked ? "; it can enrol again with a new key and a token made for it" : "");
    }
    if (auto revoked = standing == Standing::revoked ? revoke_certificates(device) : Result<>(); !revoked) {
      return revoked;
    }
    auto written = database_.run("UPDATE devices SET state = ?, reason = ? WHERE id = ?",
                                 {to_string(standing), reason, device.str()});
    return written ? note(who, to_string(standing), device.str(), reason) : written;
  });
}

Result<> Registry::set_wanted(const DeviceId& device, const wire::Configuration& wanted, std::string_view who,
                              std::string_view what) {
  const std::string text = wire::encode(wanted);
  return database_.transaction([&]() -> Result<> {
    auto written = database_.run("UPDATE devices SET wanted = ? WHERE id = ?", {text, device.str()});
    return written ? note(who, "configured", device.str(), what) : written;
  });
}

Result<std::vector<RevokedRow>> Registry::revoked_certificates() {
  std::vector<RevokedRow> rows;
  auto read = database_.each(
      "SELECT serial, revoked_at FROM certificates WHERE revoked_at > 0 AND not_after > ? ORDER BY serial",
      {seconds(now()) - 86'400}, [&](const Row& row) {
        rows.push_back({row.text(0), row.integer(1)});
        return Result<>();
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<std::optional<DeviceRow>> Registry::device(const DeviceId& id) {
  std::optional<DeviceRow> found;
  auto read = database_.each(fmt::format("SELECT {} FROM devices WHERE id = ?", device_columns), {id.str()},
                             [&](const Row& row) -> Result<> {
                               auto device = device_row(row);
                               if (!device) {
                                 return fail(device.error());
                               }
                               found = *std::move(device);
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return found;
}

Result<std::vector<DeviceRow>> Registry::devices() {
  std::vector<DeviceRow> rows;
  auto read = database_.each(fmt::format("SELECT {} FROM devices ORDER BY id", device_columns), {},
                             [&](const Row& row) -> Result<> {
                               auto device = device_row(row);
                               if (!device) {
                                 return fail(device.error());
                               }
                               rows.push_back(*std::move(device));
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<> Registry::save_hello(const DeviceId& device, const wire::Hello& hello) {
  const std::string text = wire::encode(hello);
  return step([&] {
    return database_.run("UPDATE devices SET hello = ?, last_seen = ? WHERE id = ?", {text, now(), device.str()});
  });
}

Result<> Registry::save_seen(const DeviceId& device) {
  return step([&] { return database_.run("UPDATE devices SET last_seen = ? WHERE id = ?", {now(), device.str()}); });
}

}  // namespace flops::registry
