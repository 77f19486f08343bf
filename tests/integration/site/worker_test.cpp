// Parts from their start to their end, and what may come in between.
#include "worker_fixture.hpp"

using namespace flops;
using namespace flops::test;
using trainer::Job;
using trainer::JobKind;

namespace {

const std::string key = SiteWorker::job(JobKind::init).part->key;
const std::string post = "POST /v1/parts";

}  // namespace

TEST_CASE("flops-site: a part's model, sum and figures come back as the site made them") {
  SiteWorker site;
  const trainer::JobReport report = site.run(SiteWorker::job(JobKind::train));
  const SiteTraining expected = site_training(fake_initial(7), 4);
  CHECK(site.trained() == expected.model);
  CHECK(report.sum_bytes == expected.sum.size());
  CHECK(SiteWorker::bytes_of(site.sum) == expected.sum);
  CHECK(::ftruncate(site.sum.get(), 0) != 0);  // its size is sealed
  CHECK(report.samples == 40);
  CHECK(report.steps == site_steps);
  CHECK(report.train_loss == 0.5);
  REQUIRE(report.evaluation);
  CHECK(report.evaluation->loss == 1.25);
  CHECK(report.evaluation->samples == 20);
  CHECK(report.evaluation->spread == trainer::Spread{0.25, 0.75, 2});
  const boost::json::object& request = site.site.parts.at(key).request;
  CHECK(request.at("first_round") == 4);
  CHECK(request.at("spec").at("model") == "tiny");
}

TEST_CASE("flops-site: the base model is sent only when the site does not have it") {
  SiteWorker site;
  (void)site.run(SiteWorker::job(JobKind::train));
  CHECK(site.site.asked("PUT /v1/models/") == 1);
  Job next = SiteWorker::job(JobKind::train);
  next.part->key = "run-1.train-5.0a1b";
  (void)site.run(next);
  CHECK(site.site.asked("PUT /v1/models/") == 1);
}

TEST_CASE("flops-site: without a sum the model is all that comes back") {
  SiteWorker site;
  SUBCASE("nobody asked for it") {
    CHECK(site.run(SiteWorker::job(JobKind::train, false)).sum_bytes == 0);
  }
  SUBCASE("the site has none") {
    site.site.finishes_at_once = false;
    site.start(SiteWorker::job(JobKind::train));
    site.wait([&] { return site.site.parts.contains(key); });
    site.site.finish(key);
    site.site.parts.at(key).result["sum"] = false;
    const auto& report = site.finished();
    REQUIRE(report);
    CHECK(report->sum_bytes == 0);
  }
  CHECK(site.site.asked("GET /v1/parts/" + key + "/sum") == 0);
  CHECK(site.trained() == site_training(fake_initial(7), 4).model);
}

TEST_CASE("flops-site: initial parameters come with their layout, a measurement with its spread") {
  SiteWorker site;
  const trainer::JobReport init = site.run(SiteWorker::job(JobKind::init));
  CHECK(init.layout == fake_layout);
  CHECK(site.trained() == fake_initial(3));
  CHECK(::ftruncate(site.result.get(), 0) != 0);

  Job measure = SiteWorker::job(JobKind::evaluate);
  measure.part->key = "run-1.evaluate-4.0a1b";
  const trainer::JobReport measured = site.run(measure);
  REQUIRE(measured.evaluation);
  CHECK(measured.evaluation->accuracy == 0.5);
  CHECK(measured.evaluation->spread == trainer::Spread{0.25, 0.75, 2});
}

TEST_CASE("flops-site: a part is waited for, and how far it is is said") {
  SiteWorker site;
  site.site.finishes_at_once = false;
  site.start(SiteWorker::job(JobKind::train));
  site.wait_for_phase("queued");
  site.site.parts.at(key).state = "working";
  site.wait_for_phase("training");
  CHECK_FALSE(site.end);
  site.site.finish(key);
  CHECK(site.finished().has_value());
}

TEST_CASE("flops-site: a coordinator that is away or in trouble is asked again, and nothing is lost") {
  SiteWorker site;
  site.site.finishes_at_once = false;
  SUBCASE("from the start") {
    site.site.down();
    site.start(SiteWorker::job(JobKind::train));
    site.wait_for_phase("unreachable");
    site.site.up();
    site.wait_for_phase("queued");
  }
  SUBCASE("in the middle") {
    site.start(SiteWorker::job(JobKind::train));
    site.wait_for_phase("queued");
    site.site.down();
    site.wait_for_phase("unreachable");
    site.site.up();
  }
  SUBCASE("it has no room for the moment") {
    site.site.failing = 3;
    site.start(SiteWorker::job(JobKind::train));
    site.wait_for_phase("unreachable");
    site.wait_for_phase("queued");
  }
  SUBCASE("its token is not there yet") {
    std::filesystem::rename(site.site.token_file(), site.site.token_file().string() + ".later");
    site.start(SiteWorker::job(JobKind::train));
    site.wait_for_phase("unreachable");
    std::filesystem::rename(site.site.token_file().string() + ".later", site.site.token_file());
    site.wait_for_phase("queued");
  }
  site.site.finish(key);
  CHECK(site.finished().has_value());
  CHECK(site.trained() == site_training(fake_initial(7), 4).model);
}

TEST_CASE("flops-site: what the site refuses fails with its words") {
  SiteWorker site;
  const Job job = SiteWorker::job(JobKind::train);
  const auto refusal = [](int status, const char* body) { return http::Response{.status = status, .body = body}; };
  SUBCASE("a specification that makes no sense there") {
    site.site.answers[post] = refusal(422, R"({"error":{"code":"spec","message":"min_fit: must be at least 1"}})");
    site.run_refused(job, "refuses the part: 422: min_fit: must be at least 1");
  }
  SUBCASE("another part with this key") {
    site.site.parts[key].request = {{"v", 1}};
    site.run_refused(job, "refuses the part: 409: this part is another one");
  }
  SUBCASE("a site without parts: the base is not sent for ever") {
    site.site.answers[post] = refusal(404, R"({"error":"there is no POST /v1/parts"})");
    site.run_refused(job, "404: there is no POST /v1/parts");
    CHECK(site.site.asked("PUT") == 3);
  }
  SUBCASE("a base that it does not take") {
    site.site.answers["PUT /v1/models/" + job.part->base.hex()] = refusal(413, R"({"error":"body too large"})");
    site.run_refused(job, "refuses the base model: 413: body too large");
  }
  SUBCASE("a token that is not valid there") {
    REQUIRE(replace_file(site.site.token_file(), "another"));
    site.run_refused(job, "401: no such token");
  }
  SUBCASE("too few devices") {
    site.site.parts[key] = {{}, "failed", "1 of 2 devices with the data 'mnist' are online", 0, {}};
    site.site.answers[post] = {.status = 200, .body = "{}"};
    site.run_refused(job, "run-7 of the site failed: 1 of 2 devices with the data 'mnist' are online");
  }
  SUBCASE("stopped by hand") {
    site.site.parts[key] = {{}, "stopped", "by an operator", 0, {}};
    site.site.answers[post] = {.status = 200, .body = "{}"};
    site.run_refused(job, "run-7 was stopped at the site: by an operator");
  }
}

TEST_CASE("flops-site: a cancelled part is taken back, one of a suspended job or of an agent that died is not") {
  SiteWorker site;
  site.site.finishes_at_once = false;
  site.start(SiteWorker::job(JobKind::train));
  site.wait_for_phase("queued");
  SUBCASE("cancelled") {
    site.worker->cancel();
    CHECK(site.finished().error().kind == ErrorKind::cancelled);
    CHECK(site.site.parts.empty());
    return;
  }
  SUBCASE("suspended") {
    site.worker->suspend();
    CHECK(site.finished().error().kind == ErrorKind::cancelled);
  }
  SUBCASE("the agent stops") {
    bool stopped = false;
    site.worker->stop([&] { stopped = true; });
    site.wait([&] { return stopped; });
    CHECK(site.finished().error().kind == ErrorKind::cancelled);
  }
  CHECK(site.site.parts.contains(key));
  CHECK(site.site.asked("DELETE") == 0);
  site.site.finish(key);
  CHECK(site.run(SiteWorker::job(JobKind::train)).samples == 40);
  CHECK(site.site.parts.size() == 1);
}

TEST_CASE("flops-site: a killed worker's part is found again by the next one") {
  SiteWorker site;
  site.site.finishes_at_once = false;
  site.start(SiteWorker::job(JobKind::train));
  site.wait_for_phase("queued");
  REQUIRE(::kill(site.worker->worker_pid().value(), SIGKILL) == 0);
  CHECK(site.finished().error().kind == ErrorKind::transient);
  site.site.finish(key);
  (void)site.run(SiteWorker::job(JobKind::train));
  CHECK(site.trained() == site_training(fake_initial(7), 4).model);
  CHECK(site.site.parts.size() == 1);
}

TEST_CASE("flops-site: a part that the site has lost begins again") {
  SiteWorker site;
  site.site.finishes_at_once = false;
  site.start(SiteWorker::job(JobKind::train));
  site.wait_for_phase("queued");
  site.site.parts.clear();
  site.site.models.clear();
  site.wait([&] { return site.site.parts.contains(key); });
  site.site.finish(key);
  CHECK(site.finished().has_value());
}

TEST_CASE("flops-site: parts that nobody will ask for again are forgotten at the site, others are not") {
  SiteWorker site;
  site.site.parts["run-1.train-3.0a1b"] = {{}, "finished", "", 1, {}};
  site.site.parts["run-2.train-1.0a1b"] = {{}, "working", "", 0, {}};
  Job job = SiteWorker::job(JobKind::train);
  job.part->needed = {"run-2.train-1.0a1b"};
  (void)site.run(job);
  CHECK_FALSE(site.site.parts.contains("run-1.train-3.0a1b"));
  CHECK(site.site.parts.contains("run-2.train-1.0a1b"));
  CHECK(site.site.parts.contains(key));
}
