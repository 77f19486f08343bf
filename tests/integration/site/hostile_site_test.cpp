// A site's coordinator that answers with what it should not.
#include "worker_fixture.hpp"

using namespace flops;
using namespace flops::test;
using trainer::Job;
using trainer::JobKind;

namespace {

const std::string key = SiteWorker::job(JobKind::init).part->key;

}  // namespace

TEST_CASE("flops-site: what a site announces is held against the layout before anything is fetched") {
  SiteWorker site;
  const Job job = SiteWorker::job(JobKind::train);
  site.site.keep(fake_initial(7));
  site.start(job);
  REQUIRE(site.finished());
  boost::json::object& result = site.site.parts.at(key).result;
  const std::size_t sums = site.site.asked("GET /v1/parts/" + key + "/sum");
  SUBCASE("a sum larger than any of this model") {
    result["sum_bytes"] = std::int64_t{1} << 40;
    site.run_refused(job, "the site announces a sum of 1099511627776 bytes");
    CHECK(site.site.asked("GET /v1/parts/" + key + "/sum") == sums);
  }
  SUBCASE("an empty sum") {
    result["sum_bytes"] = 0;
    site.run_refused(job, "a sum of 0 bytes");
  }
  SUBCASE("no model") {
    result["model"] = nullptr;
    site.run_refused(job, "ended without a model");
  }
  SUBCASE("no result") {
    site.site.answers["GET /v1/parts/" + key] = {.body = R"({"key":"k","run":"run-7","state":"finished"})"};
    site.run_refused(job, "ended without a result");
  }
  SUBCASE("nonsense") {
    site.site.answers["GET /v1/parts/" + key] = {.body = R"({"state":"finished","result":{"weight":-1}})"};
    site.run_refused(job, "'result.weight' must be an integer");
  }
  SUBCASE("a list of parts that is none is no reason to fail") {
    site.site.answers["GET /v1/parts"] = {.body = R"({"parts":[{"key":"../../runs/run-1"}]})"};
    (void)site.run(job);
    CHECK(site.site.asked("DELETE") == 0);
  }
}

TEST_CASE("flops-site: what a site sends is what it announced, or refused") {
  SiteWorker site;
  const Job job = SiteWorker::job(JobKind::train);
  (void)site.run(job);
  const std::string name(site.site.parts.at(key).result.at("model").as_string());
  std::string& file = site.site.models.at(name);
  std::string& sum = site.site.sums.at(key);
  std::string words;
  SUBCASE("a model that is too long") {
    file += std::string(1, 'x');
    site.start(job);
    REQUIRE_FALSE(site.finished());
    CHECK(site.finished().error().kind == ErrorKind::resource);
    return;
  }
  SUBCASE("a model that is too short") {
    file.resize(file.size() - 4);
    words = "bytes came, not";
  }
  SUBCASE("a model of another layout") {
    file[20] = static_cast<char>(file[20] ^ 1);
    words = "another layout than announced";
  }
  SUBCASE("another model") {
    file.back() = static_cast<char>(file.back() ^ 1);
    words = "its coordinator named " + name.substr(0, 8);
  }
  SUBCASE("no file of it") {
    site.site.models.erase(name);
    words = "404: there is no such model";
  }
  SUBCASE("a sum that is too short") {
    sum.resize(sum.size() / 2);
    words = "fetching the site's sum";
  }
  site.run_refused(job, words);
}

TEST_CASE("flops-site: initial parameters with a layout that is none are refused") {
  SiteWorker site;
  const Job job = SiteWorker::job(JobKind::init);
  (void)site.run(job);
  site.site.parts.at(key).result["layout"] = R"([["w",[4611686018427387904]]])";
  site.run_refused(job, "the layout of the site's model");
}

TEST_CASE("flops-site: a coordinator with another CA's certificate hears nothing") {
  SiteWorker site;
  REQUIRE(replace_file(site.site.ca_file(), fake_layout));  // no certificate at all
  site.start(SiteWorker::job(JobKind::train));
  REQUIRE_FALSE(site.finished());
  CHECK(site.site.requests.empty());
}

TEST_CASE("flops-site: a job that is no part, or comes with the wrong memory, is refused, and the worker goes on") {
  SiteWorker site;
  Job job = SiteWorker::job(JobKind::train);
  SUBCASE("a layout that is not the job's") {
    job.part->layout = R"([["w",[2]]])";
    site.run_refused(job, "is not that of the part's layout");
  }
  SUBCASE("a specification that is no object") {
    job.part->spec = "[]";
    site.run_refused(job, "specification is no JSON object");
  }
  SUBCASE("training for flops-trainer") {
    job.part.reset();
    job.kind = JobKind::evaluate;
    site.run_refused(job, "it is for flops-trainer");
  }
  const int pid = site.worker->worker_pid().value();
  CHECK(site.site.requests.empty());
  (void)site.run(SiteWorker::job(JobKind::train));
  CHECK(site.worker->worker_pid() == pid);
}
