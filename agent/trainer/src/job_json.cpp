#include <array>

#include "fields.hpp"
#include "flops/core/id.hpp"

namespace flops::trainer {
namespace {

namespace json = boost::json;

// Of this protocol. Agent and trainer are installed together; after an upgrade an agent that still runs meets a
// newer trainer.
constexpr int job_version = 4;

constexpr std::size_t max_name = 64;
constexpr std::size_t max_path = 4096;
constexpr std::int64_t max_epochs = 100'000;
constexpr std::int64_t max_batch = 65'536;
constexpr double max_rate = 1000;
constexpr std::int64_t max_checkpoint_batches = 1'000'000'000;
constexpr double max_checkpoint_seconds = 1e9;
constexpr std::int64_t max_steps = 1'000'000;
constexpr std::int64_t max_rounds = std::int64_t{1} << 40U;
constexpr std::int64_t max_local_rounds = 1'000;
constexpr std::array kinds = {JobKind::init, JobKind::train, JobKind::evaluate};

json::object dataset_object(const DatasetFiles& files) {
  return {{"tag", files.tag},
          {"format", files.format},
          {"train_samples", files.train_samples.string()},
          {"train_labels", files.train_labels.string()},
          {"test_samples", files.test_samples.string()},
          {"test_labels", files.test_labels.string()}};
}

json::object training_object(const Training& training) {
  return {{"epochs", training.epochs},       {"batch", training.batch},
          {"optimizer", training.optimizer}, {"learning_rate", training.learning_rate},
          {"momentum", training.momentum},   {"weight_decay", training.weight_decay},
          {"loss", training.loss},           {"steps", training.steps},
          {"proximal", training.proximal}};
}

json::object checkpoints_object(const CheckpointPolicy& policy) {
  return {{"batches", policy.batches}, {"seconds", policy.seconds}};
}

Result<CheckpointPolicy> read_checkpoints(const json::object& object) {
  Fields fields(object, "checkpoints.");
  CheckpointPolicy policy;
  policy.batches = fields.integer("batches", 0, max_checkpoint_batches);
  policy.seconds = fields.number("seconds", 0, max_checkpoint_seconds);
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return policy;
}

Result<DatasetFiles> read_dataset(const json::object& object) {
  Fields fields(object, "dataset.");
  DatasetFiles files;
  files.tag = fields.text("tag", max_name);
  files.format = fields.text("format", max_name);
  if (files.format != "idx") {
    fields.complain("format", "must be \"idx\"");
  }
  const auto path = [&](std::string_view name) {
    std::filesystem::path value(fields.text(name, max_path));
    if (!value.empty() && !value.is_absolute()) {
      fields.complain(name, "must be an absolute path");
    }
    return value;
  };
  // A split that a job does not use may be empty: an evaluator has no train split.
  files.train_samples = path("train_samples");
  files.train_labels = path("train_labels");
  files.test_samples = path("test_samples");
  files.test_labels = path("test_labels");
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return files;
}

Result<Training> read_training(const json::object& object) {
  Fields fields(object, "training.");
  Training training;
  training.epochs = fields.integer("epochs", 1, max_epochs);
  training.batch = fields.integer("batch", 1, max_batch);
  training.optimizer = fields.text("optimizer", max_name);
  training.learning_rate = fields.number("learning_rate", 0, max_rate);
  training.momentum = fields.number("momentum", 0, 1);
  training.weight_decay = fields.number("weight_decay", 0, max_rate);
  training.loss = fields.text("loss", max_name);
  training.steps = fields.integer("steps", 0, max_steps);
  training.proximal = fields.number("proximal", 0, max_rate);
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return training;
}

json::object part_object(const Part& part) {
  json::array needed;
  for (const std::string& key : part.needed) {
    needed.emplace_back(key);
  }
  json::object object{
      {"key", part.key}, {"first_round", part.first_round}, {"local_round", part.local_round}, {"spec", part.spec},
      {"sum", part.sum}, {"needed", std::move(needed)}};
  if (!part.base.empty()) {
    object["base"] = part.base.hex();
    object["layout"] = part.layout;
  }
  return object;
}

// Keys stand in paths of URLs.
std::vector<std::string> read_keys(Fields& fields, std::string_view name) {
  std::vector<std::string> keys;
  const json::array& found = fields.array(name, max_needed_parts);
  for (const json::value& item : found) {
    const json::string* text = item.if_string();
    if (text == nullptr || !is_valid_id(std::string_view(text->data(), text->size()))) {
      fields.complain(name, "must be a list of ids");
      return {};
    }
    keys.emplace_back(text->data(), text->size());
  }
  return keys;
}

Result<Part> read_part(const json::object& object, JobKind kind) {
  Fields fields(object, "part.");
  Part part;
  part.key = fields.text("key", max_id_length);
  if (!is_valid_id(part.key)) {
    fields.complain("key", "must be an id");
  }
  part.first_round = fields.integer("first_round", 1, max_rounds);
  part.local_round = fields.integer("local_round", 0, max_local_rounds);
  part.spec = fields.text("spec", max_part_spec);
  part.sum = fields.boolean("sum");
  part.needed = read_keys(fields, "needed");
  if (kind != JobKind::init) {
    const auto base = Digest::from_hex(fields.text("base", 2 * Digest::size));
    if (!base) {
      fields.complain("base", "must be 64 hexadecimal digits");
    } else {
      part.base = *base;
    }
    part.layout = fields.text("layout", max_part_layout);
  }
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return part;
}

JobKind read_kind(Fields& fields) {
  const std::string name = fields.text("job", max_name);
  for (const JobKind kind : kinds) {
    if (to_string(kind) == name) {
      return kind;
    }
  }
  fields.complain("job", "must be one of init, train, evaluate");
  return JobKind::init;
}

template <class Value>
Result<> keep(Result<Value> read, Value& into) {
  if (!read) {
    return fail(read.error());
  }
  into = std::move(*read);
  return {};
}

Digest read_layout(Fields& fields) {
  const auto layout = Digest::from_hex(fields.text("layout", 2 * Digest::size));
  if (!layout) {
    fields.complain("layout", "must be 64 hexadecimal digits");
  }
  return layout.value_or(Digest());
}

Result<> read_part_job(Fields& fields, Job& job) {
  if (job.kind != JobKind::init) {
    job.layout = read_layout(fields);
  }
  if (job.kind == JobKind::train) {
    job.evaluate_first = fields.boolean("evaluate_first");
  }
  const json::object& part = fields.object("part");
  if (auto done = fields.done(); !done) {
    return done;
  }
  auto read = read_part(part, job.kind);
  if (!read) {
    return fail(read.error());
  }
  job.part = std::move(*read);
  return {};
}

// What only training has.
Result<> read_training_part(Fields& fields, Job& job) {
  job.evaluate_first = fields.boolean("evaluate_first");
  const json::object& training = fields.object("training");
  const json::object& checkpoints = fields.object("checkpoints");
  if (fields.has("resume")) {
    auto place = read_place(fields.object("resume"), "resume.");
    if (!place) {
      return fail(place.error());
    }
    job.resume = *place;
  }
  if (auto done = fields.done(); !done) {
    return done;
  }
  auto read = keep(read_training(training), job.training);
  return read ? keep(read_checkpoints(checkpoints), job.checkpoints) : read;
}

Result<> read_work(Fields& fields, Job& job) {
  job.layout = read_layout(fields);
  job.evaluate_batch = fields.integer("evaluate_batch", 1, max_batch);
  const json::object& files = fields.object("dataset");
  auto read = job.kind == JobKind::train ? read_training_part(fields, job) : fields.done();
  return read ? keep(read_dataset(files), job.dataset) : read;
}

}  // namespace

std::string_view to_string(JobKind kind) {
  switch (kind) {
    case JobKind::init: return "init";
    case JobKind::train: return "train";
    case JobKind::evaluate: return "evaluate";
  }
  return "unknown";
}

std::string to_json(const Job& job) {
  json::object object{{"v", job_version},
                      {"job", to_string(job.kind)},
                      {"model", job.model},
                      {"seed", job.seed},
                      {"control_variates", job.control_variates}};
  if (job.kind != JobKind::init) {
    object["layout"] = job.layout.hex();
  }
  if (job.part) {
    if (job.kind == JobKind::train) {
      object["evaluate_first"] = job.evaluate_first;
    }
    object["part"] = part_object(*job.part);
    return json::serialize(object);
  }
  if (job.kind != JobKind::init) {
    object["evaluate_batch"] = job.evaluate_batch;
    object["dataset"] = dataset_object(job.dataset);
  }
  if (job.kind == JobKind::train) {
    object["evaluate_first"] = job.evaluate_first;
    object["training"] = training_object(job.training);
    object["checkpoints"] = checkpoints_object(job.checkpoints);
    if (job.resume) {
      object["resume"] = place_object(*job.resume);
    }
  }
  return json::serialize(object);
}

Result<Job> parse_job(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) {
    return fail(object.error(), "job");
  }
  const json::value* version = object->if_contains("v");
  if (version == nullptr || *version != job_version) {
    return fail(ErrorKind::permanent,
                "job: 'v' must be {}: agent and trainer are of different versions; restart the agent", job_version);
  }
  Fields fields(*object, "");
  Job job;
  (void)fields.integer("v", job_version, job_version);
  job.kind = read_kind(fields);
  job.model = fields.text("model", max_name);
  job.seed = fields.natural("seed");
  job.control_variates = fields.boolean("control_variates");
  Result<> read;
  if (fields.has("part")) {
    read = read_part_job(fields, job);
  } else {
    read = job.kind == JobKind::init ? fields.done() : read_work(fields, job);
  }
  if (!read) {
    return fail(read.error(), "job");
  }
  return job;
}

}  // namespace flops::trainer
