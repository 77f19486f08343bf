#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "flops/trainer/job.hpp"

using namespace flops;
using trainer::Answer;

TEST_CASE("answer: progress, evaluation, report and error survive the way through JSON") {
  Answer answer;
  SUBCASE("progress") {
    answer.progress = trainer::Progress{"training", 3, 375};
    const auto read = trainer::parse_answer(trainer::to_json(answer));
    REQUIRE(read);
    REQUIRE(read->progress);
    CHECK(read->progress->phase == "training");
    CHECK(read->progress->done == 3);
    CHECK(read->progress->total == 375);
    CHECK_FALSE(read->report);
  }
  SUBCASE("evaluation") {
    answer.evaluation = trainer::Evaluation{0.1 + 0.2, 0.875, 2000, 0.25};
    const auto read = trainer::parse_answer(trainer::to_json(answer));
    REQUIRE(read);
    REQUIRE(read->evaluation);
    CHECK(read->evaluation->loss == 0.1 + 0.2);
    CHECK(read->evaluation->accuracy == 0.875);
    CHECK(read->evaluation->samples == 2000);
    CHECK(read->evaluation->seconds == 0.25);
    CHECK_FALSE(read->evaluation->spread);
  }
  SUBCASE("evaluation of a site") {
    answer.evaluation = trainer::Evaluation{1, 0.5, 2000, 0.25, trainer::Spread{0.25, 0.75, 4}};
    const auto read = trainer::parse_answer(trainer::to_json(answer));
    REQUIRE(read);
    REQUIRE(read->evaluation);
    CHECK(read->evaluation->spread == trainer::Spread{0.25, 0.75, 4});
  }
  SUBCASE("checkpoint") {
    answer.checkpoint = trainer::CheckpointNote{{4096, 100}, 5, 375};
    const auto read = trainer::parse_answer(trainer::to_json(answer));
    REQUIRE(read);
    REQUIRE(read->checkpoint);
    CHECK(read->checkpoint->place == trainer::Place{4096, 100});
    CHECK(read->checkpoint->done == 5);
    CHECK(read->checkpoint->total == 375);
  }
  SUBCASE("report") {
    answer.report =
        trainer::JobReport{trainer::Evaluation{1, 1, 5, 0}, 12'000, 0.5, 1.5, 17, 375, R"([["fc.weight",[2]]])", 4096};
    const auto read = trainer::parse_answer(trainer::to_json(answer));
    REQUIRE(read);
    REQUIRE(read->report);
    REQUIRE(read->report->evaluation);
    CHECK(read->report->evaluation->samples == 5);
    CHECK(read->report->samples == 12'000);
    CHECK(read->report->train_loss == 0.5);
    CHECK(read->report->train_seconds == 1.5);
    CHECK(read->report->resumed_at == 17);
    CHECK(read->report->steps == 375);
    CHECK(read->report->layout == R"([["fc.weight",[2]]])");
    CHECK(read->report->sum_bytes == 4096);
  }
  SUBCASE("error of every kind") {
    for (const ErrorKind kind : {ErrorKind::transient, ErrorKind::permanent, ErrorKind::corrupt, ErrorKind::denied,
                                 ErrorKind::resource, ErrorKind::cancelled, ErrorKind::bug}) {
      answer.error = Error{kind, "training diverged: \"nan\""};
      const auto read = trainer::parse_answer(trainer::to_json(answer));
      REQUIRE(read);
      REQUIRE(read->error);
      CHECK(read->error->kind == kind);
      CHECK(read->error->what == "training diverged: \"nan\"");
    }
  }
}

TEST_CASE("answer: a message with bytes that are no UTF-8, or too many, still arrives") {
  Answer answer;
  answer.error = Error{ErrorKind::permanent, "/data/\xFF\xFE: " + std::string(100'000, 'x')};
  const std::string text = trainer::to_json(answer);
  CHECK(text.size() < trainer::max_packet);
  const auto read = trainer::parse_answer(text);
  REQUIRE(read);
  CHECK(read->error->what.substr(0, 12) == "/data/??: xx");

  answer.error = Error{ErrorKind::permanent, "/data/\xC3\xA4"};
  CHECK(trainer::parse_answer(trainer::to_json(answer))->error->what == "/data/\xC3\xA4");
}

TEST_CASE("answer: what is wrong in one is refused with the field") {
  struct Row {
    const char* text;
    const char* reason;
  };
  const Row rows[] = {
      {R"({})", "exactly one object"},
      {R"({"progress":{"phase":"a","done":1,"total":2},"error":{"kind":"bug","what":""}})", "exactly one object"},
      {R"({"progress":5})", "exactly one object"},
      {R"({"greeting":{}})", "'greeting' is not known"},
      {R"({"progress":{"phase":"a","done":-1,"total":2}})", "'progress.done'"},
      {R"({"progress":{"phase":"a","done":1}})", "'progress.total' is missing"},
      {R"({"evaluation":{"loss":1,"accuracy":1.5,"samples":1,"seconds":0}})", "'evaluation.accuracy'"},
      {R"({"evaluation":{"loss":"low","accuracy":1,"samples":1,"seconds":0}})", "'evaluation.loss'"},
      {R"({"evaluation":{"loss":1,"accuracy":1,"samples":1,"seconds":-1}})", "'evaluation.seconds'"},
      {R"({"report":{"samples":1,"train_loss":1e400,"train_seconds":0,"resumed_at":0,"steps":1,"layout":"","sum_bytes":0}})",
       "'report.train_loss'"},
      {R"({"report":{"samples":1,"train_loss":1,"train_seconds":0,"resumed_at":0,"steps":-1,"layout":""}})",
       "'report.steps'"},
      {R"({"report":{"samples":1,"train_loss":1,"train_seconds":0,"resumed_at":0,"layout":""}})",
       "'report.steps' is missing"},
      {R"({"report":{"samples":1,"train_loss":1,"train_seconds":0,"resumed_at":0,"steps":1,"layout":"","sum_bytes":0,"evaluation":{}}})",
       "'report.evaluation.loss' is missing"},
      {R"({"report":{"samples":1,"train_loss":1,"train_seconds":0,"resumed_at":0,"steps":1,"layout":"","sum_bytes":-1}})",
       "'report.sum_bytes'"},
      {R"({"evaluation":{"loss":1,"accuracy":1,"samples":1,"seconds":1,"spread":{"accuracy_min":0.5,"accuracy_max":0.4,"devices":1}}})",
       "'evaluation.spread.accuracy_max'"},
      {R"({"evaluation":{"loss":1,"accuracy":1,"samples":1,"seconds":1,"spread":{"accuracy_min":0.5,"accuracy_max":0.6,"devices":0}}})",
       "'evaluation.spread.devices'"},
      {R"({"error":{"kind":"mystery","what":""}})", "'error.kind'"},
      {R"({"error":{"kind":"bug","what":7}})", "'error.what' must be a string"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto answer = trainer::parse_answer(row.text);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind == ErrorKind::permanent);
    CHECK_MESSAGE(answer.error().what.find(row.reason) != std::string::npos, answer.error().what);
  }
}
