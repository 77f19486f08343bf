// The real flops-site, started by a ProcessTrainer, for a played coordinator of a site.
#pragma once

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "fake_model.hpp"
#include "flops/core/file.hpp"
#include "flops/tensor/safetensors.hpp"
#include "flops/test/wait.hpp"
#include "flops/trainer/trainer.hpp"
#include "site_server.hpp"

namespace flops::test {

inline std::filesystem::path programs() {
  const char* chosen = std::getenv("FLOPS_BIN");
  return chosen != nullptr ? std::filesystem::path(chosen)
                           : std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

struct SiteWorker {
  SiteWorker() : site(loop) {
    trainer::ProcessTrainerOptions options;
    options.program = programs() / "flops-site";
    options.arguments = {"--site-url",   site.url(),          "--site-ca-file",
                         site.ca_file(), "--site-token-file", site.token_file()};
    options.background = false;
    worker.emplace(loop.get_executor(), options);
  }

  // Memory for a job, with `base` in it.
  static Fd filled(const std::vector<float>& base) {
    Fd file = *trainer::make_memfd("base", base.size() * sizeof(float));
    REQUIRE(::pwrite(file.get(), base.data(), base.size() * sizeof(float), 0) ==
            static_cast<ssize_t>(base.size() * sizeof(float)));
    return file;
  }
  static std::string bytes_of(const Fd& file) {
    struct stat info{};
    REQUIRE(::fstat(file.get(), &info) == 0);
    std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
    REQUIRE(::pread(file.get(), bytes.data(), bytes.size(), 0) == info.st_size);
    return bytes;
  }
  [[nodiscard]] std::vector<float> trained() const {
    const std::string bytes = bytes_of(result);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  static trainer::Job job(trainer::JobKind kind, bool wants_sum = true) {
    trainer::Job job;
    job.kind = kind;
    job.model = "tiny";
    trainer::Part part;
    part.key = "run-1.train-4.0a1b";
    part.first_round = 4;
    part.spec = R"({"model":"tiny","rounds":1})";
    if (kind != trainer::JobKind::init) {
      const tensor::Layout layout = *tensor::Layout::parse(fake_layout);
      const std::vector<float> base = fake_initial(7);
      part.base = *tensor::model_digest(layout, tensor::from_memory(base));
      part.layout = fake_layout;
      job.layout = layout.id();
    }
    part.sum = kind == trainer::JobKind::train && wants_sum;
    job.evaluate_first = kind == trainer::JobKind::train;
    job.part = part;
    return job;
  }

  void start(const trainer::Job& job) {
    end.reset();
    phases.clear();
    const bool init = job.kind == trainer::JobKind::init;
    base = filled(fake_initial(7));
    result = *trainer::make_memfd("result", init ? 0 : fake_parameters * sizeof(float));
    sum = *trainer::make_memfd("sum", 0);
    trainer::JobMemory memory;
    memory.parameters = base.get();
    memory.result = result.get();
    memory.sum = sum.get();
    trainer::JobCallbacks callbacks;
    callbacks.progress = [this](const trainer::Progress& progress) {
      if (phases.empty() || phases.back() != progress.phase) {
        phases.push_back(progress.phase);
      }
    };
    callbacks.finished = [this](Result<trainer::JobReport> report) { end = std::move(report); };
    const auto started = worker->start(job, memory, callbacks);
    REQUIRE_MESSAGE(started, (started ? "" : started.error().what));
  }
  void wait(const std::function<bool()>& condition) { REQUIRE(run_until(loop, condition)); }
  void wait_for_phase(const std::string& phase) {
    wait([&] { return !phases.empty() && phases.back() == phase; });
  }
  const Result<trainer::JobReport>& finished() {
    wait([this] { return end.has_value(); });
    return *end;
  }
  // To its end, which must be a good one.
  trainer::JobReport run(const trainer::Job& job) {
    start(job);
    const auto& report = finished();
    REQUIRE_MESSAGE(report, (report ? "" : report.error().what));
    return *report;
  }
  // To its end, which must be an error with these words.
  void run_refused(const trainer::Job& job, const std::string& words) {
    start(job);
    const auto& report = finished();
    REQUIRE_FALSE(report);
    CHECK(report.error().kind == ErrorKind::permanent);
    CHECK_MESSAGE(report.error().what.find(words) != std::string::npos, report.error().what);
  }

  boost::asio::io_context loop;
  SiteServer site;
  std::optional<trainer::ProcessTrainer> worker;
  Fd base;
  Fd result;
  Fd sum;
  std::vector<std::string> phases;  // one after the other
  std::optional<Result<trainer::JobReport>> end;
};

}  // namespace flops::test
