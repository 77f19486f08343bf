// run watch: follows a run by long polls and prints each round once, when nothing in it can change any more.
#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include <unistd.h>

#include "commands.hpp"
#include "flops/core/backoff.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"
#include "output.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds poll_wait = 20s;
constexpr std::chrono::seconds give_up_after = 60s;  // a coordinator that restarts is back well before

bool ended(const std::string& state) {
  return state == "finished" || state == "failed" || state == "stopped";
}

bool evaluates(const json::value& run) {
  const json::value* spec = run.as_object().if_contains("spec");
  const json::object* fields = spec == nullptr ? nullptr : spec->if_object();
  const json::value* evaluate = fields == nullptr ? nullptr : fields->if_contains("evaluate");
  return evaluate == nullptr || !evaluate->is_bool() || evaluate->get_bool();
}

std::int64_t number_of(const json::value& round) {
  return report::integer_field(round, "round").value_or(-1);
}

bool has_model(const json::value& round) {
  return report::text_field(round, "model_digest").has_value();
}

class Watcher {
 public:
  Watcher(const Context& context, const Api& api, std::string id) : context_(context), api_(api), id_(std::move(id)) {}

  Outcome<> run() {
    std::int64_t revision = -1;
    while (true) {
      auto answer = poll(revision);
      if (!answer) {
        clear_status();
        return give_up(answer.error());
      }
      const std::string state = report::text_field(*answer, "state").value_or("");
      if (auto printed = print_rounds(*answer, ended(state)); !printed) {
        return printed;
      }
      if (ended(state)) {
        return finish(*answer, state);
      }
      show_status(*answer, state);
      const std::int64_t next = report::integer_field(*answer, "revision").value_or(0);
      if (next == revision) {
        std::this_thread::sleep_for(200ms);  // a coordinator that does not wait must not be flooded
      }
      revision = next;
    }
  }

 private:
  // One answer; a coordinator that is away for less than `give_up_after` is waited for, but not at the very start.
  Outcome<json::value> poll(std::int64_t revision) {
    const std::string path = revision < 0
                                 ? "/v1/runs/" + id_
                                 : fmt::format("/v1/runs/{}?after={}&wait={}", id_, revision, poll_wait.count());
    const auto deadline = std::chrono::steady_clock::now() + give_up_after;
    Backoff backoff(250ms, 5s);
    while (true) {
      auto answer = api_.get(path, poll_wait + 20s);
      if (answer || answer.error().code != exit_unreachable || revision < 0 ||
          std::chrono::steady_clock::now() >= deadline) {
        return answer;
      }
      if (!away_) {
        clear_status();
        fmt::print(stderr, "flopsctl: {}; trying again\n", answer.error().message);
        away_ = true;
      }
      std::this_thread::sleep_for(backoff.next(random_));
    }
  }

  Outcome<> print_rounds(const json::value& run, bool run_ended) {
    away_ = false;
    const json::array& rounds = report::array_field(run, "rounds");
    std::int64_t newest = 0;
    for (const json::value& round : rounds) {
      newest = has_model(round) ? std::max(newest, number_of(round)) : newest;
    }
    const bool evaluated = evaluates(run);
    for (const json::value& round : rounds) {
      const std::int64_t number = number_of(round);
      if (number <= printed_ || !has_model(round)) {
        continue;
      }
      // Devices measure a round's model in the next round; until all have, its accuracy still changes.
      if (!run_ended && evaluated && newest <= number && report::text_field(round, "state") != "done") {
        break;
      }
      if (auto done = print_round(round); !done) {
        return done;
      }
      printed_ = number;
    }
    return exit_ok;
  }

  Outcome<> print_round(const json::value& round) {
    if (context_.format == Format::json) {
      return print_json(round);
    }
    clear_status();
    const report::Table table = report::rounds_table();
    const std::string header = printed_ < 0 ? table.header() : std::string();
    return print(header + table.row(report::round_cells(round)));
  }

  Outcome<> finish(const json::value& run, const std::string& state) {
    clear_status();
    if (context_.format == Format::json) {
      if (auto printed = print_json(run); !printed) {
        return printed;
      }
    }
    if (state != "finished") {
      const auto reason = report::text_field(run, "reason");
      return give_up(exit_run_failed, "run {} {}{}", id_, state == "failed" ? "failed" : "was stopped",
                     reason && !reason->empty() ? ": " + report::printable(*reason) : "");
    }
    if (context_.format == Format::json) {
      return exit_ok;
    }
    const auto accuracy = report::number_field(run, "accuracy");
    return print(fmt::format("run {} finished: accuracy {}, model {}\n", id_,
                             accuracy ? report::fixed_text(*accuracy, 4) : "-",
                             report::printable(report::text_field(run, "model_digest").value_or("-"))));
  }

  // A line that the next output replaces; only for people, so only on a terminal.
  void show_status(const json::value& run, const std::string& state) {
    if (!terminal_) {
      return;
    }
    fmt::print(stderr, "\r\x1b[K{}: {}, round {} of {}", id_, report::printable(state),
               report::integer_field(run, "round").value_or(0), report::integer_field(run, "rounds_total").value_or(0));
    std::fflush(stderr);
  }
  void clear_status() const {
    if (terminal_) {
      fmt::print(stderr, "\r\x1b[K");
      std::fflush(stderr);
    }
  }

  const Context& context_;
  const Api& api_;
  const std::string id_;
  const bool terminal_ = ::isatty(STDOUT_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
  std::int64_t printed_ = -1;
  bool away_ = false;
  std::mt19937_64 random_{std::random_device()()};
};

}  // namespace

Outcome<> watch_run(const Context& context, const std::string& id) {
  if (auto checked = check_id(id); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  return Watcher(context, *api, id).run();
}

}  // namespace flops::cli
