// device, access and audit.
#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include <unistd.h>

#include <boost/json/serialize.hpp>

#include "commands.hpp"
#include "device_words.hpp"
#include "flops/core/clock.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"
#include "output.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

std::string path_of(const std::string& id) {
  return "/v1/devices/" + id;
}

// The devices that are meant: those that are named, or those with the labels.
Outcome<std::vector<std::string>> selected(const Api& api, const DeviceSelection& devices) {
  if (devices.ids.empty() == devices.selector.empty()) {
    return give_up(exit_usage, "name devices, or choose them with --selector NAME=VALUE");
  }
  for (const std::string& id : devices.ids) {
    if (auto checked = check_id(id); !checked) {
      return give_up(checked.error());
    }
  }
  if (!devices.ids.empty()) {
    return devices.ids;
  }
  const auto labels = parse_selector(devices.selector);
  if (!labels) {
    return give_up(labels.error());
  }
  const auto answer = api.get("/v1/devices");
  if (!answer) {
    return give_up(answer.error());
  }
  std::vector<std::string> ids;
  for (const json::value& device : report::array_field(*answer, "devices")) {
    if (has_labels(device, *labels)) {
      ids.push_back(report::text_field(device, "id").value_or(""));
    }
  }
  return ids.empty() ? give_up(exit_not_found, "no device has these labels") : Outcome<std::vector<std::string>>(ids);
}

// One after the other; the answers of those that worked are printed.
template <class Step>
Outcome<> for_each_device(const Context& context, const DeviceSelection& devices, Step step) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto ids = selected(*api, devices);
  if (!ids) {
    return give_up(ids.error());
  }
  Outcome<> outcome = exit_ok;
  json::array changed;
  for (const std::string& id : *ids) {
    Outcome<json::value> answer = step(*api, id);
    if (answer) {
      changed.push_back(*std::move(answer));
      continue;
    }
    if (outcome && ids->size() > 1) {
      outcome = give_up(answer.error().code, "{}: {}", id, answer.error().message);
    } else if (outcome) {
      outcome = give_up(answer.error());
    } else {
      fmt::print(stderr, "flopsctl: {}: {}\n", id, answer.error().message);
    }
  }
  if (!changed.empty()) {
    if (auto shown = show(context, json::object{{"devices", std::move(changed)}}, report::devices_table); !shown) {
      return shown;
    }
  }
  return outcome;
}

Outcome<> ask_device(const Context& context, const std::string& id, const char* what) {
  if (auto checked = check_id(id); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->post(path_of(id) + "/" + what, json::object{});
  if (!answer) {
    return give_up(answer.error());
  }
  return show(context, *answer, report::report_text);
}

}  // namespace

Outcome<> list_devices(const Context& context, const DeviceSelection& only) {
  const auto labels = parse_selector(only.selector);
  if (!labels) {
    return give_up(labels.error());
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  auto answer = api->get("/v1/devices");
  if (!answer) {
    return give_up(answer.error());
  }
  json::array shown;
  for (const json::value& device : report::array_field(*answer, "devices")) {
    if (has_labels(device, *labels) &&
        (only.state.empty() || report::text_field(device, "state").value_or("") == only.state)) {
      shown.push_back(device);
    }
  }
  return show(context, json::object{{"devices", std::move(shown)}}, report::devices_table);
}

Outcome<> show_device(const Context& context, const std::string& id) {
  if (auto checked = check_id(id); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->get(path_of(id));
  return answer ? show(context, *answer, report::device_details) : give_up(answer.error());
}

Outcome<> change_standing(const Context& context, const DeviceSelection& devices, const std::string& verb,
                          const DeviceChange& change) {
  if (verb == "revoke" && !devices.selector.empty() && !change.sure) {
    return give_up(exit_usage,
                   "this revokes all devices with {}: look with 'flopsctl device list -l {}', then add --yes",
                   devices.selector, devices.selector);
  }
  return for_each_device(context, devices, [&](const Api& api, const std::string& id) {
    return api.post(path_of(id) + "/" + verb, json::object{{"reason", change.reason}});
  });
}

Outcome<> label_devices(const Context& context, const DeviceSelection& devices, const DeviceChange& change) {
  DeviceSelection meant = devices;
  json::object labels;
  for (const std::string& word : change.words) {
    if (const auto equals = word.find('='); equals != std::string::npos) {
      labels[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (word.ends_with('-') && word.size() > 1) {
      labels[word.substr(0, word.size() - 1)] = nullptr;
    } else {
      meant.ids.push_back(word);
    }
  }
  if (labels.empty()) {
    return give_up(exit_usage, "name a label: NAME=VALUE sets it, NAME- takes it back");
  }
  return for_each_device(context, meant, [&](const Api& api, const std::string& id) {
    return api.patch(path_of(id), json::object{{"labels", labels}});
  });
}

Outcome<> configure_devices(const Context& context, const DeviceSelection& devices, const DeviceChange& change) {
  json::object settings;
  for (const std::string& word : change.set) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return give_up(exit_usage, "--set '{}': expected KEY=VALUE, e.g. conditions.max_temperature=70", word);
    }
    settings[word.substr(0, equals)] = as_toml(word.substr(equals + 1));
  }
  for (const std::string& key : change.unset) {
    settings[key] = nullptr;
  }
  if (settings.empty()) {
    return give_up(exit_usage, "say what to change: --set KEY=VALUE or --unset KEY");
  }
  return for_each_device(context, devices, [&](const Api& api, const std::string& id) {
    return api.patch(path_of(id), json::object{{"settings", settings}});
  });
}

Outcome<> watch_device(const Context& context, const std::string& id) {
  if (auto checked = check_id(id); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  std::string before;
  while (true) {
    const auto answer = api->get(path_of(id));
    if (!answer) {
      return give_up(answer.error());
    }
    const std::string line = context.format == Format::json ? json::serialize(*answer) : report::device_line(*answer);
    if (line != before) {
      const std::string stamp = context.format == Format::json ? "" : iso8601(unix_ms(SystemClock().wall())) + "  ";
      if (auto printed = print(stamp + line + "\n"); !printed) {
        return printed;
      }
      before = line;
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

Outcome<> device_logs(const Context& context, const std::string& id) {
  return ask_device(context, id, "log");
}

Outcome<> diagnose_device(const Context& context, const std::string& id) {
  return ask_device(context, id, "diagnosis");
}

Outcome<> create_access(const Context& context, const AccessOptions& options) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->post("/v1/access", json::object{{"name", options.name}, {"role", options.role}});
  if (!answer || context.format == Format::json) {
    return answer ? print_json(*answer) : give_up(answer.error());
  }
  if (::isatty(STDERR_FILENO) != 0) {
    fmt::print(stderr, "Shown only this once. Into a file that only {} can read (chmod 600), named by token_file.\n",
               options.name);
  }
  return print(report::printable(report::text_field(*answer, "token").value_or("")) + "\n");
}

Outcome<> list_access(const Context& context) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->get("/v1/access");
  return answer ? show(context, *answer, report::access_table) : give_up(answer.error());
}

Outcome<> delete_access(const Context& context, const std::string& name) {
  if (auto checked = check_id(name); !checked) {
    return checked;
  }
  const auto api = context.api();
  return api ? api->remove("/v1/access/" + name) : give_up(api.error());
}

Outcome<> show_audit(const Context& context, const AuditOptions& options) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  // A target may be "token 3": the one character that needs to be written otherwise in an address.
  std::string target = options.target;
  std::ranges::replace(target, ' ', '+');
  const auto answer = api->get(fmt::format("/v1/audit?limit={}&target={}", options.limit, target));
  return answer ? show(context, *answer, report::audit_table) : give_up(answer.error());
}

}  // namespace flops::cli
