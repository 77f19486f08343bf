#include "catalogue.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace flops::algorithms {
namespace {

struct Key {
  std::string_view name;
  double Spec::* value;
  double min;
  double max;
  bool below_max;  // max itself is not allowed
};
constexpr std::array keys{
    Key{"server_learning_rate", &Spec::server_learning_rate, 1e-6, 1e3, false},
    Key{"momentum", &Spec::momentum, 0.0, 1.0, true},
    Key{"second_momentum", &Spec::second_momentum, 0.0, 1.0, true},
    Key{"adaptivity", &Spec::adaptivity, 1e-9, 1.0, false},
    Key{"proximal", &Spec::proximal, 0.0, 1e3, false},
};

struct Entry {
  std::unique_ptr<Algorithm> (*make)(const Spec&);
  std::array<bool, keys.size()> uses;  // in the order of `keys`
};
constexpr std::array infos{
    Info{"fedavg", "the mean, weighted by samples", "McMahan et al., AISTATS 2017"},
    Info{"fedavgm", "momentum at the server", "Hsu, Qi, Brown, 2019"},
    Info{"fedprox", "devices stay near the model they started from", "Li et al., MLSys 2020"},
    Info{"fedadam", "Adam at the server", "Reddi et al., ICLR 2021"},
    Info{"fedyogi", "Yogi at the server", "Reddi et al., ICLR 2021"},
    Info{"fedadagrad", "Adagrad at the server", "Reddi et al., ICLR 2021"},
    Info{"scaffold", "control variates against the drift of devices", "Karimireddy et al., ICML 2020"},
    Info{"fednova", "steps of devices normalised by their number", "Wang et al., NeurIPS 2020"},
};
constexpr std::array<Entry, infos.size()> entries{{
    {make_fedavg, {true}},
    {make_fedavgm, {true, true}},
    {make_fedprox, {true, false, false, false, true}},
    {make_fedadam, {true, true, true, true}},
    {make_fedyogi, {true, true, true, true}},
    {make_fedadagrad, {true, true, false, true}},
    {make_scaffold, {true}},
    {make_fednova, {true}},
}};

const Entry* find(std::string_view name) {
  const auto found = std::ranges::find(infos, name, &Info::name);
  return found == infos.end() ? nullptr : &entries[static_cast<std::size_t>(found - infos.begin())];
}

bool in_range(const Key& key, double value) {
  return value >= key.min && (key.below_max ? value < key.max : value <= key.max);
}

}  // namespace

std::span<const Info> all() {
  return infos;
}

Spec defaults(std::string_view name) {
  Spec spec{.name = std::string(name)};
  if (name == "fedadam" || name == "fedyogi" || name == "fedadagrad") {
    spec.server_learning_rate = 0.01;
  }
  if (name == "fedadagrad") {
    spec.momentum = 0.0;
  }
  return spec;
}

Result<> check(const Spec& spec) {
  std::vector<std::string> problems;
  const Entry* const entry = find(spec.name);
  if (entry == nullptr) {
    std::vector<std::string_view> names;
    std::ranges::transform(infos, std::back_inserter(names), &Info::name);
    problems.push_back(fmt::format("algorithm: expected one of: {}", fmt::join(names, ", ")));
  }
  const Spec standard = defaults(spec.name);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const Key& key = keys[i];
    const double value = spec.*key.value;
    if (!in_range(key, value)) {
      problems.push_back(fmt::format("{}: expected a number from {} to {}{}", key.name, key.min,
                                     key.below_max ? "below " : "", key.max));
    }
    if (entry != nullptr && !entry->uses[i] && value != standard.*key.value) {
      problems.push_back(fmt::format("{}: {} does not use it", key.name, spec.name));
    }
  }
  return problems.empty() ? Result<>() : fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
}

Result<std::unique_ptr<Algorithm>> make(const Spec& spec) {
  if (auto checked = check(spec); !checked) {
    return fail(checked.error());
  }
  return find(spec.name)->make(spec);
}

bool is_statistic(std::string_view tensor) {
  const std::size_t dot = tensor.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? tensor : tensor.substr(dot + 1);
  return last == "running_mean" || last == "running_var";
}

}  // namespace flops::algorithms
