#include "spec_conditions.hpp"

#include "flops/wire/messages.hpp"
#include "spec_fields.hpp"

namespace flops::rounds {
namespace {

constexpr double most = 1e9;
constexpr std::size_t most_architectures = 8;
constexpr std::size_t max_architecture = 32;

const json::object* object_of(const json::value* value, std::string_view name, std::vector<std::string>& problems) {
  if (value != nullptr && !value->is_object()) {
    problems.push_back(fmt::format("{}: expected an object", name));
    return nullptr;
  }
  return value == nullptr ? nullptr : &value->get_object();
}

void read_architectures(Fields& fields, std::set<std::string>& into) {
  const json::value* value = fields.find("architecture");
  if (value == nullptr) {
    return;
  }
  const auto* list = value->if_array();
  bool good = list != nullptr && !list->empty() && list->size() <= most_architectures;
  for (std::size_t i = 0; good && i < list->size(); ++i) {
    const auto* text = (*list)[i].if_string();
    good = text != nullptr && !text->empty() && text->size() <= max_architecture;
    if (good) {
      into.emplace(text->data(), text->size());
    }
  }
  if (!good) {
    fields.wrong("architecture", fmt::format("expected a list of 1 to {} names, such as aarch64", most_architectures));
  }
}

void read_labels(Fields& fields, std::map<std::string, std::string>& into) {
  const json::value* value = fields.find("labels");
  if (value == nullptr) {
    return;
  }
  const auto* object = value->if_object();
  bool good = object != nullptr && object->size() <= wire::max_labels;
  if (good) {
    for (const auto& [name, text] : *object) {
      const auto* string = text.if_string();
      good = good && string != nullptr && !name.empty() && name.size() <= wire::max_label_name &&
             string->size() <= wire::max_label_value;
      if (good) {
        into.emplace(std::string(name), std::string(string->data(), string->size()));
      }
    }
  }
  if (!good) {
    fields.wrong("labels", "expected an object of labels with their values as text");
  }
}

}  // namespace

void read_schedule(const json::value* value, Schedule& schedule, std::vector<std::string>& problems) {
  const json::object* object = object_of(value, "schedule", problems);
  if (object == nullptr) {
    return;
  }
  Fields fields(*object, problems, "schedule.");
  std::string decay(to_string(schedule.decay));
  fields.choice(
      "decay", decay,
      {to_string(Decay::constant), to_string(Decay::step), to_string(Decay::exponential), to_string(Decay::cosine)});
  (void)parse_decay(decay, schedule.decay);
  fields.number("factor", schedule.factor, 1e-6, 1);
  fields.integer("every", schedule.every, 1, 100'000);
  fields.integer("warmup", schedule.warmup, 0, 100'000);
  fields.number("floor", schedule.floor, 0, 1000);
  fields.integer("rounds", schedule.rounds, 0, 100'000);
  fields.refuse_unknown();
}

void read_goal(const json::value* value, Goal& goal, std::vector<std::string>& problems) {
  const json::object* object = object_of(value, "goal", problems);
  if (object == nullptr) {
    return;
  }
  Fields fields(*object, problems, "goal.");
  fields.number("accuracy", goal.accuracy, 0, 1);
  fields.number("loss", goal.loss, 0, most);
  fields.integer("patience", goal.patience, 0, 100'000);
  fields.number("min_change", goal.min_change, 0, most);
  fields.integer("min_evaluate", goal.min_evaluate, 1, 100'000);
  fields.refuse_unknown();
}

void read_requirements(const json::value* value, Requirements& wanted, std::vector<std::string>& problems) {
  const json::object* object = object_of(value, "requirements", problems);
  if (object == nullptr) {
    return;
  }
  Fields fields(*object, problems, "requirements.");
  fields.integer("memory_mb", wanted.memory_mb, 0, 1 << 30);
  fields.integer("cores", wanted.cores, 0, 4096);
  fields.integer("storage_mb", wanted.storage_mb, 0, 1 << 30);
  read_architectures(fields, wanted.architecture);
  fields.boolean("accelerator", wanted.accelerator);
  read_labels(fields, wanted.labels);
  fields.refuse_unknown();
}

json::object schedule_object(const Schedule& schedule) {
  json::object out{{"decay", to_string(schedule.decay)},
                   {"factor", schedule.factor},
                   {"every", schedule.every},
                   {"warmup", schedule.warmup},
                   {"floor", schedule.floor}};
  if (schedule.rounds != 0) {
    out["rounds"] = schedule.rounds;
  }
  return out;
}

json::object goal_object(const Goal& goal) {
  return {{"accuracy", goal.accuracy},
          {"loss", goal.loss},
          {"patience", goal.patience},
          {"min_change", goal.min_change},
          {"min_evaluate", goal.min_evaluate}};
}

json::object requirements_object(const Requirements& wanted) {
  json::object out{{"memory_mb", wanted.memory_mb},
                   {"cores", wanted.cores},
                   {"storage_mb", wanted.storage_mb},
                   {"accelerator", wanted.accelerator}};
  if (!wanted.architecture.empty()) {
    out["architecture"] = json::array(wanted.architecture.begin(), wanted.architecture.end());
  }
  if (!wanted.labels.empty()) {
    json::object labels;
    for (const auto& [name, value] : wanted.labels) {
      labels[name] = value;
    }
    out["labels"] = std::move(labels);
  }
  return out;
}

}  // namespace flops::rounds
