// Tokens, devices and small named values.
#include <algorithm>

#include "flops/registry/registry.hpp"
#include "schema.hpp"

namespace flops::registry {

using store::Row;

namespace {

wire::Role role_of(const std::string& text) {
  return text == wire::to_string(wire::Role::cluster) ? wire::Role::cluster : wire::Role::device;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::viewer: return "viewer";
    case Role::operate: return "operator";
    case Role::admin: return "admin";
  }
  return "";
}

Result<Registry> Registry::open(const std::filesystem::path& file, const Clock& clock,
                                const store::OpenOptions& options) {
  auto database = store::Database::open(file, migrations, options);
  auto opened = database ? database->check_at_start() : Result<>(fail(database.error()));
  if (!opened && opened.error().kind == ErrorKind::corrupt) {
    return fail(ErrorKind::corrupt,
                "the coordinator's records are damaged: {}; put the state folder back from a backup",
                opened.error().what);
  }
  if (!opened) {
    return fail(opened.error(), fmt::format("opening the coordinator's database {}", file.string()));
  }
  return Registry(*std::move(database), clock);
}

Result<std::optional<std::string>> Registry::meta(std::string_view key) {
  return database_.text("SELECT value FROM meta WHERE key = ?", {key});
}

Result<> Registry::set_meta(std::string_view key, std::string_view value) {
  return database_.run("INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2",
                       {key, value});
}

Result<> Registry::add_api_token(const Digest& secret, Role role, std::string_view name) {
  const std::string hex = secret.hex();
  return database_.run("INSERT INTO api_tokens(secret, role, name, created_at) VALUES(?, ?, ?, ?)",
                       {hex, to_string(role), name, now()});
}

Result<std::optional<Role>> Registry::api_role(const Digest& secret) {
  const std::string hex = secret.hex();
  auto name = database_.text("SELECT role FROM api_tokens WHERE secret = ?", {hex});
  if (!name) {
    return fail(name.error());
  }
  for (const Role role : {Role::viewer, Role::operate, Role::admin}) {
    if (*name == to_string(role)) {
      return role;
    }
  }
  return std::nullopt;
}

Result<std::int64_t> Registry::add_enrolment_token(const Digest& secret, std::int64_t uses, std::int64_t expires_at,
                                                   std::string_view note, wire::Role role) {
  const std::string hex = secret.hex();
  auto added = database_.run(
      "INSERT INTO enrolment_tokens(secret, note, uses_left, expires_at, created_at, role) VALUES(?, ?, ?, ?, ?, ?)",
      {hex, note, uses, expires_at, now(), wire::to_string(role)});
  if (!added) {
    return fail(added.error());
  }
  return database_.last_row_id();
}

Result<std::vector<EnrolmentTokenRow>> Registry::enrolment_tokens() {
  std::vector<EnrolmentTokenRow> rows;
  auto read = database_.each(
      "SELECT id, note, uses_left, expires_at, created_at, role FROM enrolment_tokens ORDER BY id DESC LIMIT 1000", {},
      [&](const Row& row) -> Result<> {
        rows.push_back(
            {row.integer(0), row.text(1), row.integer(2), row.integer(3), row.integer(4), role_of(row.text(5))});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<Registry::Enrolment> Registry::enrol(const Digest& secret, const Newcomer& newcomer,
                                            const std::function<Result<Issued>()>& issue) {
  const std::string hex = secret.hex();
  const auto& [device, public_key, role] = newcomer;
  Enrolment outcome = Enrolment::done;
  auto done = database_.transaction([&]() -> Result<> {
    std::optional<EnrolmentTokenRow> token;
    auto read = database_.each("SELECT id, uses_left, expires_at, role FROM enrolment_tokens WHERE secret = ?", {hex},
                               [&](const Row& row) -> Result<> {
                                 token = EnrolmentTokenRow{row.integer(0), "", row.integer(1),
                                                           row.integer(2), 0,  role_of(row.text(3))};
                                 return {};
                               });
    if (!read) {
      return read;
    }
    auto holder = database_.text("SELECT public_key FROM devices WHERE id = ?", {device.str()});
    auto last_token = holder ? database_.text("SELECT token FROM devices WHERE id = ?", {device.str()}) : holder;
    if (!last_token) {
      return fail(last_token.error());
    }
    const bool again = token && *holder && **holder == public_key && **last_token == std::to_string(token->id);
    if (!token) {
      outcome = Enrolment::token_unknown;
    } else if (token->uses_left <= 0 && !again) {
      outcome = Enrolment::token_used;
    } else if (token->expires_at <= now()) {
      outcome = Enrolment::token_expired;
    } else if (role && *role != token->role) {
      outcome = Enrolment::token_role;
    } else if (*holder && **holder != public_key) {
      outcome = Enrolment::device_exists;
    }
    if (outcome != Enrolment::done) {
      return {};
    }
    auto issued = issue();
    if (!issued) {
      return fail(issued.error());
    }
    auto used = again
                    ? Result<>()
                    : database_.run("UPDATE enrolment_tokens SET uses_left = uses_left - 1 WHERE id = ?", {token->id});
    if (!used) {
      return used;
    }
    return database_.run(
        "INSERT INTO devices(id, state, public_key, certificate_serial, certificate_not_after, enrolled_at, last_seen, "
        "role, token) VALUES(?1, 'accepted', ?2, ?3, ?4, ?5, 0, ?6, ?7) ON CONFLICT(id) DO UPDATE SET "
        "certificate_serial = ?3, certificate_not_after = ?4, enrolled_at = ?5, role = ?6, token = ?7",
        {device.str(), public_key, issued->serial, issued->not_after, now(), wire::to_string(token->role), token->id});
  });
  if (!done) {
    return fail(done.error());
  }
  return outcome;
}

Result<std::vector<DeviceRow>> Registry::devices() {
  std::vector<DeviceRow> rows;
  auto read = database_.each(
      "SELECT id, state, public_key, certificate_serial, certificate_not_after, enrolled_at, last_seen, hello, role "
      "FROM devices ORDER BY id",
      {}, [&](const Row& row) -> Result<> {
        auto id = DeviceId::parse(row.text(0));
        if (!id) {
          return fail(ErrorKind::corrupt, "devices: {}", id.error().what);
        }
        DeviceRow device{
            *id,          row.text(1),         row.text(2), row.text(3), row.integer(4), row.integer(5), row.integer(6),
            std::nullopt, role_of(row.text(8))};
        if (!row.is_null(7)) {
          if (auto hello = wire::decode<wire::Hello>(row.text(7)); hello) {
            device.hello = *std::move(hello);
          }
        }
        rows.push_back(std::move(device));
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
