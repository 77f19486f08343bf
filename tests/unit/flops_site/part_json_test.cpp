#include <doctest/doctest.h>

#include <string>

#include <boost/json.hpp>

#include "part_json.hpp"

using namespace flops;
using namespace flops::site;
using trainer::JobKind;

namespace {

trainer::Job a_job(JobKind kind) {
  trainer::Job job;
  job.kind = kind;
  job.part = trainer::Part{};
  job.part->key = "run-7.train-3.0a1b";
  job.part->first_round = 4;
  job.part->spec = R"({"model":"cnn-small","rounds":3})";
  job.part->sum = kind == JobKind::train;
  if (kind != JobKind::init) {
    job.part->base = *Digest::from_hex(std::string(64, 'b'));
  }
  return job;
}

const std::string finished = R"({"key":"k1","run":"run-7","kind":"train","state":"finished","reason":"","round":3,
  "rounds":3,"participants":4,"more":[1],"result":{"model":")" +
                             std::string(64, 'a') +
                             R"(","sum":true,"sum_bytes":4096,"weight":240,"steps":15,"train_loss":0.5,
  "metrics":{"loss":1.5,"accuracy":0.5,"accuracy_min":0.25,"accuracy_max":0.75,"samples":80,"devices":4}}})";

// The answer above with one field replaced at a path like "result.metrics.devices".
std::string with(const std::string& path, const std::string& value) {
  boost::json::value answer = boost::json::parse(finished);
  boost::json::object* object = &answer.as_object();
  std::string rest = path;
  for (std::size_t dot = rest.find('.'); dot != std::string::npos; dot = rest.find('.')) {
    object = &object->at(rest.substr(0, dot)).as_object();
    rest.erase(0, dot + 1);
  }
  (*object)[rest] = boost::json::parse(value);
  return boost::json::serialize(answer);
}

}  // namespace

TEST_CASE("part: the request has what the site's coordinator needs, and of the base only its name") {
  const auto text = part_request(a_job(JobKind::train));
  REQUIRE(text);
  const boost::json::object request = boost::json::parse(*text).as_object();
  CHECK(request.at("v") == 1);
  CHECK(request.at("key") == "run-7.train-3.0a1b");
  CHECK(request.at("kind") == "train");
  CHECK(request.at("first_round") == 4);
  CHECK(request.at("spec").at("rounds") == 3);
  CHECK(request.at("sum") == true);
  CHECK(std::string(request.at("base").as_string()) == std::string(64, 'b'));
  CHECK(boost::json::parse(*part_request(a_job(JobKind::evaluate))).at("kind") == "evaluate");
  const boost::json::value init = boost::json::parse(*part_request(a_job(JobKind::init)));
  CHECK(init.at("kind") == "init");
  CHECK_FALSE(init.as_object().contains("base"));
}

TEST_CASE("part: rounds without a link go on behind those before them") {
  trainer::Job job = a_job(JobKind::train);
  job.part->local_round = 2;
  CHECK(boost::json::parse(*part_request(job)).at("first_round") == 10);
  job.part->spec = "{}";
  CHECK_FALSE(part_request(job));
  job.part->spec = R"({"rounds":9000000000000000000})";
  CHECK_FALSE(part_request(job));
  job.part->spec = "no json";
  job.part->local_round = 0;
  CHECK_FALSE(part_request(job));
}

TEST_CASE("part: a finished one is read whole") {
  const auto view = parse_part(finished);
  REQUIRE_MESSAGE(view, (view ? "" : view.error().what));
  CHECK(view->state == State::finished);
  CHECK(view->run == "run-7");
  CHECK(view->round == 3);
  CHECK(view->rounds == 3);
  REQUIRE(view->result);
  CHECK(view->result->model.hex() == std::string(64, 'a'));
  CHECK(view->result->sum);
  CHECK(view->result->sum_bytes == 4096);
  CHECK(view->result->weight == 240);
  CHECK(view->result->steps == 15);
  CHECK(view->result->train_loss == 0.5);
  REQUIRE(view->result->metrics);
  CHECK(view->result->metrics->samples == 80);
  CHECK(view->result->metrics->spread == trainer::Spread{0.25, 0.75, 4});
}

TEST_CASE("part: one that is not finished has no result, and what is null is not there") {
  const auto view = parse_part(R"({"key":"k1","run":"run-7","state":"working","round":1,"rounds":3,"result":null})");
  REQUIRE(view);
  CHECK(view->state == State::working);
  CHECK_FALSE(view->result);
  const auto measured = parse_part(with("result.metrics", "null"));
  REQUIRE(measured);
  CHECK_FALSE(measured->result->metrics);
  CHECK(parse_part(with("result.model", "null"))->result->model.empty());
}

TEST_CASE("part: an answer with something wrong in it is refused, with the field") {
  struct Row {
    const char* path;
    std::string value;
    const char* reason;
  };
  const Row rows[] = {
      {"state", "\"dreaming\"", "'state' must be queued"},
      {"state", "7", "'state' must be text"},
      {"key", '"' + std::string(65, 'k') + '"', "'key' must be text of at most 64"},
      {"reason", '"' + std::string(2001, 'r') + '"', "'reason' must be text"},
      {"round", "-1", "'round' must be an integer"},
      {"round", "1e3", "'round' must be an integer"},
      {"result", "[]", "'result' must be an object"},
      {"result.model", "\"abc\"", "'result.model' must be 64"},
      {"result.sum", "1", "'result.sum' must be true or false"},
      {"result.sum_bytes", "-4096", "'result.sum_bytes' must be an integer"},
      {"result.weight", "99999999999999999999", "'result.weight' must be an integer"},
      {"result.train_loss", "\"low\"", "'result.train_loss' must be a number"},
      {"result.layout", '"' + std::string(49'153, 'l') + '"', "'result.layout' must be text"},
      {"result.metrics", "1", "'result.metrics' must be an object"},
      {"result.metrics.accuracy", "1.5", "'result.metrics.accuracy' must be a number"},
      {"result.metrics.accuracy_min", "0.9", "'result.metrics.accuracy_max' must be a number"},
      {"result.metrics.devices", "0", "'result.metrics.devices' must be at least 1"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.path);
    const auto view = parse_part(with(row.path, row.value));
    REQUIRE_FALSE(view);
    CHECK(view.error().kind == ErrorKind::permanent);
    CHECK_MESSAGE(view.error().what.find(row.reason) != std::string::npos, view.error().what);
  }
  for (const std::string& text : {std::string(), std::string("[]"), std::string("<html>"), std::string(100'000, '[')}) {
    CHECK_FALSE(parse_part(text));
    CHECK_FALSE(parse_part_keys(text));
  }
}

TEST_CASE("part: the keys of all parts, which become paths, are ids") {
  CHECK(*parse_part_keys(R"({"parts":[{"key":"a.1","state":"working"},{"key":"b"}]})") ==
        std::vector<std::string>{"a.1", "b"});
  CHECK(parse_part_keys(R"({"parts":[]})")->empty());
  for (const char* text : {R"({"parts":{}})", R"({})", R"({"parts":[{}]})", R"({"parts":[{"key":"../runs"}]})",
                           R"({"parts":[{"key":7}]})"}) {
    CHECK_FALSE(parse_part_keys(text));
  }
}

TEST_CASE("part: a refusal is told in the coordinator's words, on one line") {
  CHECK(words_of(R"({"error":{"code":"bad_spec","message":"min_fit: 0\nrounds: 0"}})") == "min_fit: 0 rounds: 0");
  CHECK(words_of(R"({"error":"body too large"})") == "body too large");
  CHECK(words_of("<html>\x1B[2J") == "<html> [2J");
  CHECK(words_of(std::string(10'000, 'x')).size() == 400);
}
