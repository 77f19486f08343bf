#include "part_json.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <boost/json.hpp>

#include "flops/core/id.hpp"

namespace flops::site {
namespace {

namespace json = boost::json;

constexpr std::size_t max_words = 400;
constexpr std::size_t max_reason = 2000;
constexpr std::size_t max_parts = 100'000;
constexpr double max_loss = 1e300;
constexpr std::int64_t max_rounds = std::int64_t{1} << 40U;
constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();

constexpr std::array<std::pair<std::string_view, State>, 5> states = {{{"queued", State::queued},
                                                                       {"working", State::working},
                                                                       {"finished", State::finished},
                                                                       {"failed", State::failed},
                                                                       {"stopped", State::stopped}}};

// Keeps the first thing that is wrong. A field that is missing or null is what it was.
class Reader {
 public:
  Reader(const json::object& object, std::string where) : object_(object), where_(std::move(where)) {}

  std::string text(std::string_view name, std::size_t limit) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return {};
    }
    if (!value->is_string() || value->get_string().size() > limit) {
      wrong(name, fmt::format("text of at most {} bytes", limit));
      return {};
    }
    return {value->get_string().data(), value->get_string().size()};
  }
  std::uint64_t count(std::string_view name, std::int64_t most = any) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return 0;
    }
    boost::system::error_code error;
    const std::int64_t found = value->is_double() ? -1 : value->to_number<std::int64_t>(error);
    if (error || found < 0 || found > most) {
      wrong(name, fmt::format("an integer from 0 to {}", most));
      return 0;
    }
    return static_cast<std::uint64_t>(found);
  }
  double number(std::string_view name, double min, double max) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return std::clamp(0.0, min, max);
    }
    boost::system::error_code error;
    const double found = value->to_number<double>(error);
    if (error || !std::isfinite(found) || found < min || found > max) {
      wrong(name, fmt::format("a number from {} to {}", min, max));
      return min;
    }
    return found;
  }
  bool boolean(std::string_view name) {
    const json::value* value = find(name);
    if (value != nullptr && !value->is_bool()) {
      wrong(name, "true or false");
      return false;
    }
    return value != nullptr && value->get_bool();
  }
  Digest digest(std::string_view name) {
    const std::string hex = text(name, 2 * Digest::size);
    const auto found = hex.empty() ? Result<Digest>(Digest()) : Digest::from_hex(hex);
    if (!found) {
      wrong(name, "64 hexadecimal digits");
    }
    return found.value_or(Digest());
  }
  const json::object* object(std::string_view name) {
    const json::value* value = find(name);
    if (value != nullptr && !value->is_object()) {
      wrong(name, "an object");
    }
    return value != nullptr ? value->if_object() : nullptr;
  }
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  void wrong(std::string_view name, std::string_view what) {
    if (problem_.empty()) {
      problem_ = fmt::format("the site's coordinator answers nonsense: '{}{}' must be {}", where_, name, what);
    }
  }
  [[nodiscard]] Result<> done() const {
    return problem_.empty() ? Result<>() : Result<>(fail(ErrorKind::permanent, "{}", problem_));
  }

 private:
  [[nodiscard]] const json::value* find(std::string_view name) const {
    const json::value* value = object_.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  const json::object& object_;
  std::string where_;
  std::string problem_;
};

Result<json::object> parse_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = 8;
  boost::system::error_code error;
  json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::permanent, "the site's coordinator answers with something that is no JSON object: {}",
                words_of(text));
  }
  return std::move(value.get_object());
}

Result<trainer::Evaluation> read_metrics(const json::object& object) {
  Reader in(object, "result.metrics.");
  trainer::Evaluation found;
  found.loss = in.number("loss", -max_loss, max_loss);
  found.accuracy = in.number("accuracy", 0, 1);
  found.samples = in.count("samples");
  if (in.has("devices")) {
    trainer::Spread spread;
    spread.accuracy_min = in.number("accuracy_min", 0, 1);
    spread.accuracy_max = in.number("accuracy_max", spread.accuracy_min, 1);
    spread.devices = static_cast<std::int64_t>(in.count("devices", max_rounds));
    if (spread.devices == 0) {
      in.wrong("devices", "at least 1");
    }
    found.spread = spread;
  }
  if (auto done = in.done(); !done) {
    return fail(done.error());
  }
  return found;
}

Result<PartResult> read_result(const json::object& object) {
  Reader in(object, "result.");
  PartResult found;
  found.model = in.digest("model");
  found.sum = in.boolean("sum");
  found.sum_bytes = in.count("sum_bytes");
  found.weight = in.count("weight");
  found.steps = in.count("steps");
  found.train_loss = in.number("train_loss", -max_loss, max_loss);
  found.layout = in.text("layout", trainer::max_part_layout);
  const json::object* metrics = in.object("metrics");
  if (auto done = in.done(); !done) {
    return fail(done.error());
  }
  if (metrics != nullptr) {
    auto read = read_metrics(*metrics);
    if (!read) {
      return fail(read.error());
    }
    found.metrics = *read;
  }
  return found;
}

// Rounds that were done without a link are behind this part.
Result<std::int64_t> first_round_of(const trainer::Part& part, const json::object& spec) {
  if (part.local_round == 0) {
    return part.first_round;
  }
  const json::value* rounds = spec.if_contains("rounds");
  boost::system::error_code error;
  const std::int64_t each = rounds != nullptr && !rounds->is_double() ? rounds->to_number<std::int64_t>(error) : 0;
  if (error || each < 1 || each > max_rounds / (part.local_round + 1)) {
    return fail(ErrorKind::permanent, "the part's specification does not say how many rounds it has");
  }
  return part.first_round + part.local_round * each;
}

}  // namespace

Result<std::string> part_request(const trainer::Job& job) {
  const trainer::Part& part = *job.part;
  boost::system::error_code error;
  json::value spec = json::parse(part.spec, error);
  if (error || !spec.is_object()) {
    return fail(ErrorKind::permanent, "the part's specification is no JSON object");
  }
  const auto first_round = first_round_of(part, spec.get_object());
  if (!first_round) {
    return fail(first_round.error());
  }
  json::object request{{"v", 1},
                       {"key", part.key},
                       {"kind", trainer::to_string(job.kind)},
                       {"spec", std::move(spec)},
                       {"first_round", *first_round},
                       {"sum", part.sum}};
  if (job.kind != trainer::JobKind::init) {
    request["base"] = part.base.hex();
  }
  return json::serialize(request);
}

Result<PartView> parse_part(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) {
    return fail(object.error());
  }
  Reader in(*object, "");
  PartView view;
  view.key = in.text("key", max_id_length);
  view.run = in.text("run", max_id_length);
  view.reason = in.text("reason", max_reason);
  view.round = in.count("round");
  view.rounds = in.count("rounds");
  const std::string name = in.text("state", max_id_length);
  const auto state = std::ranges::find(states, name, &std::pair<std::string_view, State>::first);
  if (state == states.end()) {
    in.wrong("state", "queued, working, finished, failed or stopped");
  } else {
    view.state = state->second;
  }
  const json::object* result = in.object("result");
  if (auto done = in.done(); !done) {
    return fail(done.error());
  }
  if (result != nullptr) {
    auto read = read_result(*result);
    if (!read) {
      return fail(read.error());
    }
    view.result = std::move(*read);
  }
  return view;
}

Result<std::vector<std::string>> parse_part_keys(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) {
    return fail(object.error());
  }
  const json::value* value = object->if_contains("parts");
  const json::array* parts = value != nullptr ? value->if_array() : nullptr;
  if (parts == nullptr || parts->size() > max_parts) {
    return fail(ErrorKind::permanent, "the site's coordinator answers nonsense: 'parts' must be a list");
  }
  std::vector<std::string> keys;
  for (const json::value& part : *parts) {
    const json::object* fields = part.if_object();
    const json::value* key = fields != nullptr ? fields->if_contains("key") : nullptr;
    const json::string* name = key != nullptr ? key->if_string() : nullptr;
    if (name == nullptr || !is_valid_id(std::string_view(name->data(), name->size()))) {
      return fail(ErrorKind::permanent, "the site's coordinator answers nonsense: a part without a key");
    }
    keys.emplace_back(name->data(), name->size());
  }
  return keys;
}

std::string words_of(std::string_view body) {
  boost::system::error_code failed;
  const json::value value = json::parse(body, failed);
  const json::object* object = failed ? nullptr : value.if_object();
  const json::value* error = object != nullptr ? object->if_contains("error") : nullptr;
  if (const json::object* inner = error != nullptr ? error->if_object() : nullptr) {
    error = inner->if_contains("message");
  }
  const json::string* words = error != nullptr ? error->if_string() : nullptr;
  std::string text(words != nullptr ? std::string_view(words->data(), words->size()) : body);
  text.resize(std::min(text.size(), max_words));
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

}  // namespace flops::site
