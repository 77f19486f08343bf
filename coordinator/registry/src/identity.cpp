// Small named values, and who may use the API.
#include "flops/registry/registry.hpp"
#include "schema.hpp"

namespace flops::registry {

using store::Row;

std::string_view to_string(Role role) {
  switch (role) {
    case Role::viewer: return "viewer";
    case Role::operate: return "operator";
    case Role::admin: return "admin";
  }
  return "";
}

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::viewer, Role::operate, Role::admin}) {
    if (text == to_string(role)) {
      return role;
    }
  }
  return std::nullopt;
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
  auto taken = database_.text("SELECT name FROM api_tokens WHERE name = ?", {name});
  if (!taken || *taken) {
    return taken ? fail(ErrorKind::permanent, "there is a token with the name '{}'", name) : fail(taken.error());
  }
  return database_.run("INSERT INTO api_tokens(secret, role, name, created_at) VALUES(?, ?, ?, ?)",
                       {hex, to_string(role), name, now()});
}

Result<std::optional<ApiCaller>> Registry::api_caller(const Digest& secret) {
  const std::string hex = secret.hex();
  std::optional<ApiCaller> caller;
  auto read = database_.each("SELECT name, role FROM api_tokens WHERE secret = ?", {hex}, [&](const Row& row) {
    if (const auto role = parse_role(row.text(1))) {
      caller = ApiCaller{row.text(0), *role};
    }
    return Result<>();
  });
  if (!read) {
    return fail(read.error());
  }
  return caller;
}

Result<std::vector<ApiTokenRow>> Registry::api_tokens() {
  std::vector<ApiTokenRow> rows;
  auto read = database_.each("SELECT name, role, created_at FROM api_tokens ORDER BY name", {}, [&](const Row& row) {
    rows.push_back({{row.text(0), parse_role(row.text(1)).value_or(Role::viewer)}, row.integer(2)});
    return Result<>();
  });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<bool> Registry::remove_api_token(std::string_view name) {
  auto removed = database_.run("DELETE FROM api_tokens WHERE name = ?", {name});
  if (!removed) {
    return fail(removed.error());
  }
  return database_.changes() > 0;
}

Result<> Registry::note(std::string_view who, std::string_view action, std::string_view target,
                        std::string_view detail) {
  return database_.run("INSERT INTO audit(at, who, action, target, detail) VALUES(?, ?, ?, ?, ?)",
                       {now(), who, action, target, detail});
}

Result<std::vector<AuditRow>> Registry::audit_log(std::string_view target, std::int64_t limit) {
  std::vector<AuditRow> rows;
  auto read = database_.each(
      "SELECT at, who, action, target, detail FROM audit WHERE ?1 = '' OR target = ?1 ORDER BY id DESC LIMIT ?2",
      {target, limit}, [&](const Row& row) {
        rows.push_back({row.integer(0), row.text(1), row.text(2), row.text(3), row.text(4)});
        return Result<>();
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

}  // namespace flops::registry
