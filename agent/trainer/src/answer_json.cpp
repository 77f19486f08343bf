#include <algorithm>
#include <array>
#include <utility>

#include "fields.hpp"

namespace flops::trainer {
namespace {

namespace json = boost::json;

constexpr std::size_t max_name = 64;
constexpr std::size_t max_reason = 4096;
constexpr double max_seconds = 1e9;
constexpr double max_loss = 1e300;
constexpr std::int64_t max_devices = 1'000'000'000;
constexpr std::array kinds = {ErrorKind::transient, ErrorKind::permanent, ErrorKind::corrupt, ErrorKind::denied,
                              ErrorKind::resource,  ErrorKind::cancelled, ErrorKind::bug};

constexpr std::array<std::pair<Control, std::string_view>, 3> controls = {
    {{Control::cancel, "cancel"}, {Control::suspend, "suspend"}, {Control::kept, "kept"}}};

json::object progress_object(const Progress& progress) {
  return {{"phase", progress.phase}, {"done", progress.done}, {"total", progress.total}};
}

json::object evaluation_object(const Evaluation& evaluation) {
  json::object object{{"loss", evaluation.loss},
                      {"accuracy", evaluation.accuracy},
                      {"samples", evaluation.samples},
                      {"seconds", evaluation.seconds}};
  if (const auto& spread = evaluation.spread) {
    object["spread"] = json::object{
        {"accuracy_min", spread->accuracy_min}, {"accuracy_max", spread->accuracy_max}, {"devices", spread->devices}};
  }
  return object;
}

json::object report_object(const JobReport& report) {
  json::object object{
      {"samples", report.samples},       {"train_loss", report.train_loss}, {"train_seconds", report.train_seconds},
      {"resumed_at", report.resumed_at}, {"steps", report.steps},           {"layout", report.layout},
      {"sum_bytes", report.sum_bytes}};
  if (report.evaluation) {
    object["evaluation"] = evaluation_object(*report.evaluation);
  }
  return object;
}

// A message may quote bytes that are no UTF-8 (file names); JSON cannot hold them.
std::string as_utf8(std::string text) {
  text.resize(std::min(text.size(), max_reason));
  boost::system::error_code error;
  (void)json::parse(json::serialize(json::string(text)), error);
  if (error) {
    std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  }
  return text;
}

json::object error_object(const Error& error) {
  return {{"kind", to_string(error.kind)}, {"what", as_utf8(error.what)}};
}

Result<Progress> read_progress(const json::object& object) {
  Fields fields(object, "progress.");
  Progress progress;
  progress.phase = fields.text("phase", max_name);
  progress.done = fields.natural("done");
  progress.total = fields.natural("total");
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return progress;
}

Result<Spread> read_spread(const json::object& object, const std::string& where) {
  Fields fields(object, where + "spread.");
  Spread spread;
  spread.accuracy_min = fields.number("accuracy_min", 0, 1);
  spread.accuracy_max = fields.number("accuracy_max", spread.accuracy_min, 1);
  spread.devices = fields.integer("devices", 1, max_devices);
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return spread;
}

Result<Evaluation> read_evaluation(const json::object& object, const std::string& where) {
  Fields fields(object, where);
  Evaluation evaluation;
  evaluation.loss = fields.number("loss", -max_loss, max_loss);
  evaluation.accuracy = fields.number("accuracy", 0, 1);
  evaluation.samples = fields.natural("samples");
  evaluation.seconds = fields.number("seconds", 0, max_seconds);
  const json::object* spread = fields.has("spread") ? &fields.object("spread") : nullptr;
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  if (spread != nullptr) {
    auto read = read_spread(*spread, where);
    if (!read) {
      return fail(read.error());
    }
    evaluation.spread = *read;
  }
  return evaluation;
}

Result<JobReport> read_report(const json::object& object) {
  Fields fields(object, "report.");
  JobReport report;
  report.samples = fields.natural("samples");
  report.train_loss = fields.number("train_loss", -max_loss, max_loss);
  report.train_seconds = fields.number("train_seconds", 0, max_seconds);
  report.resumed_at = fields.natural("resumed_at");
  report.steps = fields.natural("steps");
  report.layout = fields.text("layout", max_packet);
  report.sum_bytes = fields.natural("sum_bytes");
  const json::object* evaluated = fields.has("evaluation") ? &fields.object("evaluation") : nullptr;
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  if (evaluated != nullptr) {
    auto evaluation = read_evaluation(*evaluated, "report.evaluation.");
    if (!evaluation) {
      return fail(evaluation.error());
    }
    report.evaluation = *evaluation;
  }
  return report;
}

json::object checkpoint_object(const CheckpointNote& note) {
  return {{"place", place_object(note.place)}, {"done", note.done}, {"total", note.total}};
}

Result<CheckpointNote> read_checkpoint(const json::object& object) {
  Fields fields(object, "checkpoint.");
  CheckpointNote note;
  const json::object& place = fields.object("place");
  note.done = fields.natural("done");
  note.total = fields.natural("total");
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  auto read = read_place(place, "checkpoint.place.");
  if (!read) {
    return fail(read.error());
  }
  note.place = *read;
  return note;
}

Result<Error> read_error(const json::object& object) {
  Fields fields(object, "error.");
  Error error{ErrorKind::bug, {}};
  const std::string name = fields.text("kind", max_name);
  const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](ErrorKind k) { return to_string(k) == name; });
  if (kind == kinds.end()) {
    fields.complain("kind", "is none of the error kinds");
  } else {
    error.kind = *kind;
  }
  error.what = fields.text("what", max_reason);
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return error;
}

template <class Value>
Result<> keep(Result<Value> read, std::optional<Value>& into) {
  if (!read) {
    return fail(read.error());
  }
  into = std::move(*read);
  return {};
}

}  // namespace

std::string to_json(const Answer& answer) {
  json::object object;
  if (answer.progress) {
    object["progress"] = progress_object(*answer.progress);
  } else if (answer.evaluation) {
    object["evaluation"] = evaluation_object(*answer.evaluation);
  } else if (answer.checkpoint) {
    object["checkpoint"] = checkpoint_object(*answer.checkpoint);
  } else if (answer.report) {
    object["report"] = report_object(*answer.report);
  } else if (answer.error) {
    object["error"] = error_object(*answer.error);
  }
  return json::serialize(object);
}

Result<Answer> parse_answer(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) {
    return fail(object.error(), "answer");
  }
  if (object->size() != 1 || !object->begin()->value().is_object()) {
    return fail(ErrorKind::permanent, "answer: must hold exactly one object");
  }
  const std::string_view name = object->begin()->key();
  const json::object& content = object->begin()->value().get_object();
  Answer answer;
  Result<> read;
  if (name == "progress") {
    read = keep(read_progress(content), answer.progress);
  } else if (name == "evaluation") {
    read = keep(read_evaluation(content, "evaluation."), answer.evaluation);
  } else if (name == "checkpoint") {
    read = keep(read_checkpoint(content), answer.checkpoint);
  } else if (name == "report") {
    read = keep(read_report(content), answer.report);
  } else if (name == "error") {
    read = keep(read_error(content), answer.error);
  } else {
    read = fail(ErrorKind::permanent, "'{}' is not known", name.substr(0, max_name));
  }
  if (!read) {
    return fail(read.error(), "answer");
  }
  return answer;
}

std::string to_json(Control control) {
  for (const auto& [value, name] : controls) {
    if (value == control) {
      return json::serialize(json::object{{name, true}});
    }
  }
  return {};
}

std::optional<Control> parse_control(std::string_view text) {
  const auto object = parse_object(text);
  if (!object || object->size() != 1 || object->begin()->value() != true) {
    return std::nullopt;
  }
  for (const auto& [value, name] : controls) {
    if (object->begin()->key() == name) {
      return value;
    }
  }
  return std::nullopt;
}

}  // namespace flops::trainer
