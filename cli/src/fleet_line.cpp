// Options of the commands about the fleet.
#include "line.hpp"

namespace flops::cli {

namespace {

void add_selection(CLI::App& command, DeviceSelection& devices) {
  command.add_option("ID", devices.ids, "Device ids");
  command
      .add_option("-l,--selector", devices.selector, "Instead: all devices with these labels, e.g. site=hall-3,rack=2")
      ->option_text("NAME=VALUE[,...]");
}

void add_device_commands(CLI::App& app, Line& line) {
  CLI::App* device = add_group(app, "device", "Devices of the fleet");
  CLI::App* list =
      add_command(*device, line, "list", "List devices", [&line] { return list_devices(line.context, line.devices); });
  list->add_option("-l,--selector", line.devices.selector, "Only those with these labels")
      ->option_text("NAME=VALUE[,...]");
  list->add_option("--state", line.devices.state, "Only those in this state")
      ->check(CLI::IsMember({"pending", "accepted", "quarantined", "revoked"}));
  const auto with_id = [&](const char* name, const char* text, std::function<Outcome<>()> run) {
    CLI::App* command = add_command(*device, line, name, text, std::move(run));
    command->add_option("ID", line.id, "Device id")->required();
    return command;
  };
  with_id("show", "Show one device", [&line] { return show_device(line.context, line.id); });
  const auto changing = [&](const char* name, const char* verb, const char* text) {
    CLI::App* command = add_command(*device, line, name, text, [&line, verb] {
      return change_standing(line.context, line.devices, verb, line.change);
    });
    add_selection(*command, line.devices);
    return command;
  };
  changing("approve", "approve", "Let a device that waits, or is quarantined, take part");
  changing("quarantine", "quarantine", "Give a device no work, and count nothing of it, until it is approved again")
      ->add_option("--reason", line.change.reason, "Why; the device shows it");
  CLI::App* revoke = changing("revoke", "revoke", "Cut a device off for good: its key never comes back");
  revoke->add_option("--reason", line.change.reason, "Why, for the audit log");
  revoke->add_flag("--yes", line.change.sure, "Do not ask when there are several");
  CLI::App* label = add_command(*device, line, "label", "Give devices labels: NAME=VALUE sets, NAME- takes back",
                                [&line] { return label_devices(line.context, line.devices, line.change); });
  label->add_option("ID_OR_LABEL", line.change.words, "Device ids and labels, e.g. pi-1 pi-2 site=hall-3 rack-")
      ->required();
  label->add_option("-l,--selector", line.devices.selector, "All devices with these labels")
      ->option_text("NAME=VALUE[,...]");
  CLI::App* configure = add_command(*device, line, "configure", "Change settings of devices from here",
                                    [&line] { return configure_devices(line.context, line.devices, line.change); });
  add_selection(*configure, line.devices);
  configure
      ->add_option("--set", line.change.set, "log_level or one of [conditions], e.g. conditions.max_temperature=70")
      ->option_text("KEY=VALUE ...");
  configure->add_option("--unset", line.change.unset, "Back to what the device's own file says")
      ->option_text("KEY ...");
  with_id("watch", "Print what a device does as it changes, until interrupted",
          [&line] { return watch_device(line.context, line.id); });
  with_id("logs", "Print the newest log lines of a device's agent",
          [&line] { return device_logs(line.context, line.id); });
  with_id("run-diag", "Let a device examine itself, and print what it finds",
          [&line] { return diagnose_device(line.context, line.id); });
}

void add_access_commands(CLI::App& app, Line& line) {
  CLI::App* access = add_group(app, "access", "Who may use this command line and the API");
  CLI::App* create = add_command(*access, line, "create", "Make a token for a person or a program",
                                 [&line] { return create_access(line.context, line.access); });
  create->add_option("NAME", line.access.name, "Its name in the audit log")->required();
  create->add_option("--role", line.access.role, "viewer: looks; operator: also runs, tokens and devices; admin: all")
      ->check(CLI::IsMember({"viewer", "operator", "admin"}))
      ->capture_default_str();
  add_command(*access, line, "list", "List them", [&line] { return list_access(line.context); });
  add_command(*access, line, "delete", "Make one useless", [&line] { return delete_access(line.context, line.id); })
      ->add_option("NAME", line.id, "Its name")
      ->required();
  CLI::App* audit =
      add_command(app, line, "audit", "Show who did what with devices, tokens and access, the newest first",
                  [&line] { return show_audit(line.context, line.audit); });
  audit->add_option("--target", line.audit.target, "Only what was done with this device, token or access");
  audit->add_option("--limit", line.audit.limit, "How many")->check(CLI::Range(1, 10'000))->capture_default_str();
}

}  // namespace

void add_fleet_commands(CLI::App& app, Line& line) {
  constexpr std::int64_t max_uses = 100'000;
  CLI::App* token = add_group(app, "token", "Enrolment tokens");
  CLI::App* create = add_command(*token, line, "create", "Make a token that lets devices, or sites, join the fleet",
                                 [&line] { return create_token(line.context, line.token); });
  create->add_option("--uses", line.token.uses, "How many devices may use it")
      ->check(CLI::Range(std::int64_t{1}, max_uses))
      ->capture_default_str();
  create->add_option("--expires", line.token.expires, "When it stops working: 90s, 30m, 24h, 7d")
      ->capture_default_str();
  create->add_option("--note", line.token.note, "What it is for");
  create->add_flag("--site", line.token.site, "For the coordinators of sites, instead of devices");
  create->add_flag("--approve", line.token.approve, "Who enrols with it waits for 'flopsctl device approve'");
  create->add_option("--device", line.token.device,
                     "Only for this device, also when it has lost its key: what it had before is revoked then");
  add_command(*token, line, "list", "List tokens", [&line] { return list_tokens(line.context); });

  add_command(app, line, "status", "Show the coordinator and what is wrong with it",
              [&line] { return show_status(line.context); });
  add_device_commands(app, line);
  CLI::App* cluster = add_group(app, "cluster", "Clusters of the active run, or of the last one that had any");
  add_command(*cluster, line, "list", "List clusters", [&line] { return list_clusters(line.context); });
  add_command(*cluster, line, "show", "Show one cluster, its devices and rounds",
              [&line] { return show_cluster(line.context, line.id); })
      ->add_option("ID", line.id, "Cluster")
      ->required();
  add_access_commands(app, line);
}

}  // namespace flops::cli
