#include "flops/rounds/run_spec.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include <boost/json.hpp>

namespace flops::rounds {
namespace {

namespace json = boost::json;

// Reads fields of one object, collects all problems, and at the end the fields nobody asked for.
class Fields {
 public:
  Fields(const json::object& in, std::vector<std::string>& problems, std::string prefix)
      : in_(in), problems_(problems), prefix_(std::move(prefix)) {}

  void text(const char* name, std::string& into, std::size_t limit, bool required) {
    const json::value* value = find(name);
    if (value == nullptr) {
      if (required) {
        wrong(name, "is missing");
      }
      return;
    }
    const auto* string = value->if_string();
    if (string == nullptr || string->empty() || string->size() > limit) {
      wrong(name, fmt::format("expected text of 1 to {} bytes", limit));
      return;
    }
    into.assign(string->data(), string->size());
  }

  template <class Integer>
  void integer(const char* name, Integer& into, std::int64_t min, std::int64_t max) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return;
    }
    const auto* number = value->if_int64();
    if (number == nullptr || *number < min || *number > max) {
      wrong(name, fmt::format("expected an integer from {} to {}", min, max));
      return;
    }
    into = static_cast<Integer>(*number);
  }

  void number(const char* name, double& into, double min, double max) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return;
    }
    json::error_code error;
    const double number = value->to_number<double>(error);
    if (error || !(number >= min && number <= max)) {
      wrong(name, fmt::format("expected a number from {} to {}", min, max));
      return;
    }
    into = number;
  }

  void boolean(const char* name, bool& into) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return;
    }
    if (!value->is_bool()) {
      wrong(name, "expected true or false");
      return;
    }
    into = value->get_bool();
  }

  void choice(const char* name, std::string& into, const std::vector<std::string_view>& allowed) {
    std::string value = into;
    text(name, value, 64, false);
    for (const std::string_view candidate : allowed) {
      if (value == candidate) {
        into = value;
        return;
      }
    }
    wrong(name, fmt::format("expected one of: {}", fmt::join(allowed, ", ")));
  }

  [[nodiscard]] const json::value* find(const char* name) {
    known_.insert(name);
    return in_.if_contains(name);
  }

  void wrong(std::string_view name, std::string_view what) {
    problems_.push_back(fmt::format("{}{}: {}", prefix_, name, what));
  }

  void refuse_unknown() {
    for (const auto& member : in_) {
      if (!known_.contains(member.key())) {
        wrong(member.key(), "unknown field");
      }
    }
  }

 private:
  const json::object& in_;
  std::vector<std::string>& problems_;
  std::string prefix_;
  std::set<std::string, std::less<>> known_;
};

// Beyond it devices refuse to train.
constexpr double max_rate = 1000;

void read_training(const json::value* value, wire::TrainingSpec& training, SpecFrom from,
                   std::vector<std::string>& problems) {
  if (value == nullptr) {
    return;
  }
  if (!value->is_object()) {
    problems.emplace_back("training: expected an object");
    return;
  }
  Fields fields(value->get_object(), problems, "training.");
  fields.integer("epochs", training.epochs, 1, 10'000);
  fields.integer("batch", training.batch, 1, 65'536);
  fields.choice("optimizer", training.optimizer, {"sgd", "adam"});
  fields.number("learning_rate", training.learning_rate, 1e-12, from == SpecFrom::request ? max_rate : wire::max_rate);
  fields.number("momentum", training.momentum, 0, 1);
  fields.number("weight_decay", training.weight_decay, 0, from == SpecFrom::request ? max_rate : wire::max_rate);
  fields.choice("loss", training.loss, {"cross_entropy", "mse"});
  fields.integer("steps", training.steps, 0, 1'000'000);
  fields.number("proximal", training.proximal, 0, max_rate);
  if (from == SpecFrom::request && training.optimizer == "adam" && training.momentum != 0) {
    fields.wrong("momentum", "only for sgd; adam has its own");
  }
  fields.refuse_unknown();
}

void read_mode(Fields& fields, RunSpec& spec) {
  std::string mode(to_string(spec.mode));
  fields.choice("mode", mode, {to_string(Mode::sync), to_string(Mode::async)});
  if (mode == to_string(Mode::async)) {
    spec.mode = Mode::async;
    spec.max_staleness = async_max_staleness;
    spec.buffer = spec.min_fit;
    fields.integer("buffer", spec.buffer, 1, 100'000);
  } else if (fields.find("buffer") != nullptr) {
    fields.wrong("buffer", "only for mode async");
  }
  fields.integer("max_staleness", spec.max_staleness, 0, most_staleness);
}

void check_together(Fields& fields, const RunSpec& spec) {
  if (spec.min_available < spec.min_fit) {
    fields.wrong("min_available", "must not be smaller than min_fit");
  }
  if (spec.mode == Mode::sync) {
    return;
  }
  // A device contributes once to a buffer: with fewer devices than that it would never be full.
  if (spec.min_available < spec.buffer) {
    fields.wrong("min_available", "must not be smaller than buffer");
  }
  if (spec.buffer < spec.min_fit) {
    fields.wrong("buffer", "must not be smaller than min_fit");
  }
  if (spec.fraction < 1) {
    fields.wrong("fraction", "only for mode sync; async asks every device");
  }
  if (spec.over_select > 0) {
    fields.wrong("over_select", "only for mode sync; async asks every device");
  }
}

}  // namespace

std::string_view to_string(Mode mode) {
  return mode == Mode::async ? "async" : "sync";
}

Result<RunSpec> parse_run_spec(std::string_view text, SpecFrom from) {
  json::parse_options options;
  options.max_depth = 4;
  json::error_code error;
  const json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::permanent, "a run specification is a JSON object{}{}", error ? ": " : "",
                error ? error.message() : "");
  }
  RunSpec spec;
  std::vector<std::string> problems;
  Fields fields(value.get_object(), problems, "");
  fields.text("model", spec.model, 64, true);
  fields.text("data", spec.data, 64, true);
  fields.integer("rounds", spec.rounds, 1, 100'000);
  fields.integer("seed", spec.seed, 0, 1LL << 53U);
  fields.integer("min_fit", spec.min_fit, 1, 100'000);
  read_mode(fields, spec);
  spec.min_available = std::max(spec.min_fit, spec.buffer);
  fields.integer("min_available", spec.min_available, 1, 100'000);
  fields.number("fraction", spec.fraction, 1e-6, 1);
  fields.number("over_select", spec.over_select, 0, 10);
  fields.integer("deadline_seconds", spec.deadline_seconds, 10, 604'800);
  fields.boolean("evaluate", spec.evaluate);
  fields.choice("codec", spec.codec, {"lossless"});
  read_training(fields.find("training"), spec.training, from, problems);
  fields.refuse_unknown();
  check_together(fields, spec);
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  return spec;
}

std::string to_json(const RunSpec& spec) {
  json::object out{
      {"model", spec.model},
      {"data", spec.data},
      {"rounds", spec.rounds},
      {"seed", spec.seed},
      {"min_fit", spec.min_fit},
      {"min_available", spec.min_available},
      {"fraction", spec.fraction},
      {"over_select", spec.over_select},
      {"mode", to_string(spec.mode)},
      {"max_staleness", spec.max_staleness},
      {"deadline_seconds", spec.deadline_seconds},
      {"evaluate", spec.evaluate},
      {"codec", spec.codec},
      {"training", json::object{{"epochs", spec.training.epochs},
                                {"batch", spec.training.batch},
                                {"optimizer", spec.training.optimizer},
                                {"learning_rate", spec.training.learning_rate},
                                {"momentum", spec.training.momentum},
                                {"weight_decay", spec.training.weight_decay},
                                {"loss", spec.training.loss},
                                {"steps", spec.training.steps},
                                {"proximal", spec.training.proximal}}},
  };
  if (spec.mode == Mode::async) {
    out["buffer"] = spec.buffer;
  }
  return json::serialize(out);
}

}  // namespace flops::rounds
