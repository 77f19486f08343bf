#include <limits>
#include <string>

#include <doctest/doctest.h>
#include <boost/json.hpp>

#include "flops/trainer/job.hpp"

using namespace flops;
using trainer::Job;
using trainer::JobKind;

namespace {

Job a_job(JobKind kind) {
  Job job;
  job.kind = kind;
  job.model = "cnn-small";
  job.control_variates = true;
  job.seed = 18'446'744'073'709'551'615ULL;
  if (kind != JobKind::init) {
    job.layout = *Digest::from_hex(std::string(64, 'a'));
    job.dataset = {"fashion", "idx", "/data/a", "/data/b", "/data/c", "/data/\xC3\xA4"};
    job.evaluate_batch = 250;
  }
  if (kind == JobKind::train) {
    job.training = {3, 64, "adam", 1e-3, 0.5, 1e-4, "mse"};
    job.evaluate_first = true;
    job.checkpoints = {50, 2.5};
  }
  return job;
}

// A valid training job with one field replaced (or removed, with "") at a path like "training.epochs".
std::string with(const std::string& path, const std::string& value) {
  boost::json::value job = boost::json::parse(trainer::to_json(a_job(JobKind::train)));
  boost::json::object* object = &job.as_object();
  const std::size_t dot = path.find('.');
  if (dot != std::string::npos) {
    object = &object->at(path.substr(0, dot)).as_object();
  }
  const std::string name = dot == std::string::npos ? path : path.substr(dot + 1);
  if (value.empty()) {
    object->erase(name);
  } else {
    (*object)[name] = boost::json::parse(value);
  }
  return boost::json::serialize(job);
}

}  // namespace

TEST_CASE("job: every kind survives the way through JSON") {
  for (const JobKind kind : {JobKind::init, JobKind::train, JobKind::evaluate}) {
    CAPTURE(trainer::to_string(kind));
    const Job job = a_job(kind);
    const auto read = trainer::parse_job(trainer::to_json(job));
    REQUIRE(read);
    CHECK(read->kind == job.kind);
    CHECK(read->model == job.model);
    CHECK(read->layout == job.layout);
    CHECK(read->control_variates);
    CHECK(read->seed == job.seed);
    CHECK(read->dataset.tag == job.dataset.tag);
    CHECK(read->dataset.train_samples == job.dataset.train_samples);
    CHECK(read->dataset.train_labels == job.dataset.train_labels);
    CHECK(read->dataset.test_samples == job.dataset.test_samples);
    CHECK(read->dataset.test_labels == job.dataset.test_labels);
    CHECK(read->training == job.training);
    CHECK(read->evaluate_first == job.evaluate_first);
    CHECK(read->evaluate_batch == job.evaluate_batch);
  }
}

TEST_CASE("job: what is wrong in one is refused with the field and what it must be") {
  struct Row {
    const char* path;
    std::string value;  // empty: the field is missing
    const char* reason;
  };
  const Row rows[] = {
      {"v", "", "'v' must be 4"},
      {"v", "3", "restart the agent"},
      {"v", "\"4\"", "'v' must be 4"},
      {"job", "", "'job' is missing"},
      {"job", "\"destroy\"", "'job' must be one of init, train, evaluate"},
      {"job", "7", "'job' must be a string"},
      {"model", "", "'model' is missing"},
      {"model", "null", "'model' must be a string"},
      {"model", '"' + std::string(65, 'm') + '"', "'model' has 65 bytes"},
      {"model", "\"a\\u0000b\"", "'model' contains a NUL"},
      {"seed", "-1", "'seed' must be an integer from 0"},
      {"seed", "1.5", "'seed' must be an integer from 0"},
      {"seed", "18446744073709551616", "'seed' must be an integer from 0"},
      {"layout", "\"abc\"", "'layout' must be 64 hexadecimal digits"},
      {"layout", '"' + std::string(65, 'a') + '"', "'layout' has 65 bytes"},
      {"dataset", "[]", "'dataset' must be an object"},
      {"dataset.format", "\"csv\"", "'dataset.format' must be \"idx\""},
      {"dataset.train_samples", "\"relative/path\"", "'dataset.train_samples' must be an absolute path"},
      {"dataset.train_labels", '"' + std::string(4097, '/') + '"', "'dataset.train_labels' has 4097 bytes"},
      {"dataset.test_samples", "", "'dataset.test_samples' is missing"},
      {"dataset.more", "1", "'dataset.more' is not known"},
      {"training", "", "'training' is missing"},
      {"training.epochs", "0", "'training.epochs' must be an integer from 1 to 100000"},
      {"training.epochs", "2.0", "'training.epochs' must be an integer"},
      {"training.batch", "65537", "'training.batch' must be an integer from 1 to 65536"},
      {"training.learning_rate", "-0.1", "'training.learning_rate' must be a number from 0 to 1000"},
      {"training.learning_rate", "1e300", "'training.learning_rate' must be a number"},
      {"training.learning_rate", "\"0.1\"", "'training.learning_rate' must be a number"},
      {"training.momentum", "1.1", "'training.momentum' must be a number from 0 to 1"},
      {"control_variates", "", "'control_variates' is missing"},
      {"control_variates", "1", "'control_variates' must be true or false"},
      {"evaluate_first", "1", "'evaluate_first' must be true or false"},
      {"evaluate_batch", "0", "'evaluate_batch' must be an integer"},
      {"checkpoints", "", "checkpoints"},
      {"checkpoints.batches", "-1", "checkpoints.batches"},
      {"checkpoints.seconds", "1e10", "checkpoints.seconds"},
      {"resume", R"({"offset":0})", "resume.bytes"},
      {"resume", R"({"offset":18446744073709551615,"bytes":1})", "resume.offset"},
      {"surprise", "true", "'surprise' is not known"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.path);
    CAPTURE(row.value.substr(0, 40));
    const auto job = trainer::parse_job(with(row.path, row.value));
    REQUIRE_FALSE(job);
    CHECK(job.error().kind == ErrorKind::permanent);
    CHECK_MESSAGE(job.error().what.find(row.reason) != std::string::npos, job.error().what);
  }
}

TEST_CASE("job: a field that its kind does not use is refused") {
  std::string text = trainer::to_json(a_job(JobKind::init));
  text.insert(1, "\"evaluate_batch\":5,");
  const auto job = trainer::parse_job(text);
  REQUIRE_FALSE(job);
  CHECK(job.error().what.find("'evaluate_batch' is not known") != std::string::npos);
}

TEST_CASE("job: text that is no JSON object of reasonable size and depth is refused") {
  struct Row {
    const char* name;
    std::string text;
    const char* reason;
  };
  const Row rows[] = {
      {"empty", "", "not JSON"},
      {"cut", R"({"v":1,"job":"tr)", "not JSON"},
      {"trailing", trainer::to_json(a_job(JobKind::init)) + "x", "not JSON"},
      {"bare NaN", R"({"v":NaN})", "not JSON"},
      {"invalid UTF-8", "{\"v\":1,\"model\":\"\xFF\"}", "not JSON"},
      {"array", "[1]", "not a JSON object"},
      {"deep", std::string(5000, '['), "not JSON"},
      {"large", '"' + std::string(trainer::max_packet, 'x') + '"', "exceed the limit"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const auto job = trainer::parse_job(row.text);
    REQUIRE_FALSE(job);
    CHECK_MESSAGE(job.error().what.find(row.reason) != std::string::npos, job.error().what);
    CHECK_FALSE(trainer::parse_answer(row.text));
    CHECK_FALSE(trainer::parse_control(row.text));
  }
}

TEST_CASE("job: numbers that JSON cannot hold do not pass") {
  Job job = a_job(JobKind::train);
  job.training.learning_rate = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(trainer::parse_job(trainer::to_json(job)));
}

TEST_CASE("control: every one survives the way through JSON, and nothing else is one") {
  using trainer::Control;
  for (const Control control : {Control::cancel, Control::suspend, Control::kept}) {
    CHECK(trainer::parse_control(trainer::to_json(control)) == control);
  }
  CHECK_FALSE(trainer::parse_control(R"({"cancel":false})"));
  CHECK_FALSE(trainer::parse_control(R"({"cancel":true,"more":1})"));
  CHECK_FALSE(trainer::parse_control(R"({"cancel":"true"})"));
  CHECK_FALSE(trainer::parse_control(R"({"pause":true})"));
  CHECK_FALSE(trainer::parse_control(trainer::to_json(a_job(JobKind::init))));
}

TEST_CASE("job: a checkpoint to resume from survives the way through JSON, and is only for training") {
  Job job = a_job(JobKind::train);
  CHECK_FALSE(trainer::parse_job(trainer::to_json(job))->resume);
  job.resume = trainer::Place{8192, 6'653'480};
  const auto read = trainer::parse_job(trainer::to_json(job));
  REQUIRE(read);
  CHECK(read->resume == job.resume);
  CHECK(read->checkpoints == job.checkpoints);
  job.kind = JobKind::evaluate;
  CHECK_FALSE(trainer::parse_job(trainer::to_json(job))->resume);
}

namespace {

Job a_part(JobKind kind) {
  Job job = a_job(kind);
  trainer::Part part;
  part.key = "run-7.train-3.0a1b2c3d";
  part.first_round = 4;
  part.local_round = 2;
  part.spec = R"({"model":"cnn-small","rounds":2})";
  part.needed = {"run-6.train-1.0a1b2c3d"};
  if (kind != JobKind::init) {
    part.base = *Digest::from_hex(std::string(64, 'b'));
    part.layout = R"([["fc.weight",[2]]])";
  }
  part.sum = kind == JobKind::train;
  job.part = part;
  return job;
}

}  // namespace

TEST_CASE(
    "job: a part of every kind survives the way through JSON, and nothing that a site has no use for goes along") {
  for (const JobKind kind : {JobKind::init, JobKind::train, JobKind::evaluate}) {
    CAPTURE(trainer::to_string(kind));
    const Job job = a_part(kind);
    const std::string text = trainer::to_json(job);
    const auto read = trainer::parse_job(text);
    REQUIRE_MESSAGE(read, (read ? "" : read.error().what));
    CHECK(read->kind == kind);
    CHECK(read->part == job.part);
    CHECK(read->layout == job.layout);
    CHECK(read->evaluate_first == (kind == JobKind::train));
    CHECK(text.find("dataset") == std::string::npos);
    CHECK(text.find("checkpoints") == std::string::npos);
  }
}

TEST_CASE("job: the largest part fits into a packet") {
  Job job = a_part(JobKind::train);
  job.part->spec = std::string(trainer::max_part_spec, '"');  // each becomes two bytes
  job.part->layout = std::string(trainer::max_part_layout, 'x');
  job.part->needed.assign(trainer::max_needed_parts, std::string(64, 'k'));
  const std::string text = trainer::to_json(job);
  CHECK(text.size() <= trainer::max_packet);
  const auto read = trainer::parse_job(text);
  REQUIRE_MESSAGE(read, (read ? "" : read.error().what));
  CHECK(read->part == job.part);
}

TEST_CASE("job: what is wrong in a part is refused with the field and what it must be") {
  struct Row {
    const char* field;
    std::string value;  // empty: the field is missing
    const char* reason;
  };
  std::string many = "[\"k\"";
  for (std::size_t n = 0; n < trainer::max_needed_parts; ++n) {
    many += ",\"k\"";
  }
  const Row rows[] = {
      {"key", "", "'part.key' is missing"},
      {"key", "\"../runs\"", "'part.key' must be an id"},
      {"key", '"' + std::string(65, 'k') + '"', "'part.key' has 65 bytes"},
      {"first_round", "0", "'part.first_round' must be an integer from 1"},
      {"local_round", "-1", "'part.local_round' must be an integer from 0"},
      {"spec", "{}", "'part.spec' must be a string"},
      {"spec", '"' + std::string(trainer::max_part_spec + 1, 's') + '"', "'part.spec' has 16385 bytes"},
      {"layout", '"' + std::string(trainer::max_part_layout + 1, 'l') + '"', "'part.layout' has 49153 bytes"},
      {"base", "\"abc\"", "'part.base' must be 64 hexadecimal digits"},
      {"sum", "1", "'part.sum' must be true or false"},
      {"needed", "7", "'part.needed' must be a list of at most 64"},
      {"needed", many + "]", "'part.needed' must be a list of at most 64"},
      {"needed", "[\"a/b\"]", "'part.needed' must be a list of ids"},
      {"surprise", "1", "'part.surprise' is not known"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.field);
    boost::json::value job = boost::json::parse(trainer::to_json(a_part(JobKind::train)));
    boost::json::object& part = job.as_object().at("part").as_object();
    if (row.value.empty()) {
      part.erase(row.field);
    } else {
      part[row.field] = boost::json::parse(row.value);
    }
    const auto read = trainer::parse_job(boost::json::serialize(job));
    REQUIRE_FALSE(read);
    CHECK(read.error().kind == ErrorKind::permanent);
    CHECK_MESSAGE(read.error().what.find(row.reason) != std::string::npos, read.error().what);
  }
}
