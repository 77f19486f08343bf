// Speaks the trainer's protocol and computes something simple. The model's name says how it behaves:
// tiny (works), crash (kills itself in training), hang (until it is cancelled or stopped), no-model (an error), staged
// (writes a checkpoint and hangs; works when it may go on from that).
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "fake_model.hpp"
#include "flops/tensor/control_variates.hpp"
#include "flops/trainer/job.hpp"

namespace {

using namespace flops;
using namespace flops::trainer;

constexpr int socket_fd = 3;

void answer(const Answer& what) {
  if (!send_packet(socket_fd, to_json(what))) {
    std::_Exit(1);
  }
}

std::vector<float> read_values(int fd, std::size_t count = test::fake_parameters) {
  std::vector<float> values(count);
  const std::size_t bytes = values.size() * sizeof(float);
  if (::pread(fd, values.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    std::_Exit(2);
  }
  return values;
}

void write_values(int fd, const std::vector<float>& values, std::size_t at = 0) {
  const std::size_t bytes = values.size() * sizeof(float);
  if (::pwrite(fd, values.data(), bytes, static_cast<off_t>(at * sizeof(float))) != static_cast<ssize_t>(bytes)) {
    std::_Exit(3);
  }
}

void fail_with(Error error) {
  Answer what;
  what.error = std::move(error);
  answer(what);
}

void evaluate(const std::vector<float>& values, JobReport& report) {
  const double loss = static_cast<double>(values[0]) + 2;
  report.evaluation = Evaluation{loss, 0.25, 10, 0.01};
  Answer what;
  what.evaluation = report.evaluation;
  answer(what);
}

constexpr Place staged_place{4096, 700'000};

std::vector<char> staged_checkpoint() {
  std::vector<char> bytes(staged_place.bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(i * 7 + i / 251);
  }
  return bytes;
}

// True when the job goes on from what an earlier one of this kind left.
bool resumes(const Job& job, int memory) {
  if (!job.resume || job.resume->bytes != staged_place.bytes) {
    return false;
  }
  std::vector<char> bytes(job.resume->bytes);
  const auto got = ::pread(memory, bytes.data(), bytes.size(), static_cast<off_t>(job.resume->offset));
  return got == static_cast<ssize_t>(bytes.size()) && bytes == staged_checkpoint();
}

void leave_checkpoint(int memory) {
  const std::vector<char> bytes = staged_checkpoint();
  if (::pwrite(memory, bytes.data(), bytes.size(), static_cast<off_t>(staged_place.offset)) !=
      static_cast<ssize_t>(bytes.size())) {
    std::_Exit(4);
  }
  Answer what;
  what.checkpoint = CheckpointNote{staged_place, 1, 2};
  answer(what);
}

// [x, 0]
void init(const Job& job, int result, JobReport& report) {
  const tensor::Layout layout = *tensor::Layout::parse(test::fake_layout);
  const tensor::Layout travelling = job.control_variates ? *tensor::with_variates(layout) : layout;
  std::vector<float> values = test::fake_initial(job.seed);
  values.resize(travelling.parameters());
  write_values(result, values);
  report.layout = travelling.canonical();
}

// The new control variate behind the device's own, and what is to be sent behind the trained model.
void train_variates(const Packet& packet, const std::vector<float>& x, const std::vector<float>& y) {
  const std::vector<float> both = read_values(packet.descriptors.at(0).get(), 2 * test::fake_parameters);
  const std::vector<float> before = read_values(packet.descriptors.at(3).get());
  const std::vector<float> after = test::fake_variate(before, x, y);
  std::vector<float> sent(after.size());
  tensor::variate_to_return(std::span(both).subspan(test::fake_parameters), before, after, sent);
  write_values(packet.descriptors.at(3).get(), after, test::fake_parameters);
  write_values(packet.descriptors.at(1).get(), sent, test::fake_parameters);
}

void work(const Job& job, const Packet& packet) {
  JobReport report;
  if (job.kind == JobKind::init) {
    init(job, packet.descriptors.at(0).get(), report);
  } else {
    const std::vector<float> base = read_values(packet.descriptors.at(0).get());
    if (job.kind == JobKind::evaluate || job.evaluate_first) {
      evaluate(base, report);
    }
    if (job.model == "crash") {
      (void)::raise(SIGKILL);
    }
    if (job.kind == JobKind::train) {
      Answer progress;
      progress.progress = Progress{"training", 1, 2};
      answer(progress);
      const std::vector<float> trained = test::fake_trained(base, job.seed);
      write_values(packet.descriptors.at(1).get(), trained);
      if (job.control_variates) {
        train_variates(packet, base, trained);
      }
      report.samples = test::fake_samples;
      report.train_loss = 0.5;
      report.train_seconds = 0.02;
      report.steps = test::fake_steps;
    }
  }
  Answer what;
  what.report = report;
  answer(what);
}

}  // namespace

int main() {
  while (true) {
    const auto packet = receive_packet(socket_fd);
    if (!packet) {
      return 0;
    }
    if (const auto control = parse_control(packet->text)) {
      if (*control != Control::kept) {
        fail_with({ErrorKind::cancelled, "cancelled"});
      }
      continue;
    }
    const auto job = parse_job(packet->text);
    if (!job) {
      fail_with(job.error());
    } else if (job->model == "no-model") {
      fail_with({ErrorKind::permanent, "no model 'no-model'"});
    } else if (job->model == "staged" && !resumes(*job, packet->descriptors.at(2).get())) {
      Answer progress;
      progress.progress = Progress{"training", 0, 2};
      answer(progress);
      leave_checkpoint(packet->descriptors.at(2).get());
    } else if (job->model != "hang") {
      work(*job, *packet);
    }
  }
}
