// A worker that misbehaves: the model's name in a job says how. Started like flops-trainer; needs no LibTorch.
#include <csignal>
#include <cstdlib>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

#include "flops/trainer/job.hpp"

namespace {

constexpr int socket_number = 3;

void say(const flops::trainer::Answer& answer) {
  if (!flops::trainer::send_packet(socket_number, flops::trainer::to_json(answer))) {
    std::_Exit(4);
  }
}

void report() {
  flops::trainer::Answer answer;
  answer.report = flops::trainer::JobReport{};
  say(answer);
}

void progress(std::uint64_t done) {
  flops::trainer::Answer answer;
  answer.progress = flops::trainer::Progress{"training", done, 0};
  say(answer);
}

[[noreturn]] void hang() {
  for (;;) {
    ::pause();
  }
}

void misbehave(const std::string& how) {
  if (how == "nonsense") {
    (void)flops::trainer::send_packet(socket_number, "this is no answer");
    hang();
  } else if (how == "too-large") {
    const std::string large(flops::trainer::max_packet + 1, 'x');
    (void)::send(socket_number, large.data(), large.size(), MSG_NOSIGNAL);
    hang();
  } else if (how == "descriptors") {
    (void)flops::trainer::send_packet(socket_number, R"({"progress":{"phase":"training","done":1,"total":1}})", {0, 1});
    report();
  } else if (how == "unasked") {
    report();
    report();
    hang();
  } else if (how == "flood") {
    for (std::uint64_t n = 0; n < 5000; ++n) {
      progress(n);
    }
    report();
  } else if (how == "deaf") {
    (void)std::signal(SIGTERM, SIG_IGN);
    progress(1);
    hang();
  } else if (how == "hang-up") {
    ::close(socket_number);
    hang();
  } else if (how == "leave") {
    std::_Exit(0);
  } else if (how == "crash") {
    std::_Exit(7);
  } else {
    report();
  }
}

}  // namespace

int main() {
  bool first = true;
  for (;;) {
    const auto packet = flops::trainer::receive_packet(socket_number);
    if (!packet) {
      return 0;
    }
    const auto job = flops::trainer::parse_job(packet->text);
    if (!job) {
      continue;  // a cancel
    }
    if (job->model == "leave-when-warm" && !first) {
      std::_Exit(0);  // as if the idle time had ended just before the job came
    }
    first = false;
    misbehave(job->model);
  }
}
