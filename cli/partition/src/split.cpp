#include "flops/partition/split.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "flops/partition/random.hpp"
#include "power_law.hpp"

namespace flops::partition {

namespace {

// The indices of each class, shuffled within the class.
Classes by_class(std::span<const std::uint8_t> labels, Random& random) {
  Classes classes;
  for (std::uint32_t i = 0; i < labels.size(); ++i) {
    classes[labels[i]].push_back(i);
  }
  for (auto& members : classes) {
    random.shuffle(std::span(members));
  }
  return classes;
}

Assignment cut_evenly(std::size_t samples, std::uint32_t devices, Random& random) {
  std::vector<std::uint32_t> order(samples);
  std::iota(order.begin(), order.end(), 0U);
  random.shuffle(std::span(order));
  Assignment assignment(devices);
  for (std::uint64_t d = 0; d < devices; ++d) {
    const auto begin = static_cast<std::ptrdiff_t>(d * samples / devices);
    const auto end = static_cast<std::ptrdiff_t>((d + 1) * samples / devices);
    assignment[d].assign(order.begin() + begin, order.begin() + end);
  }
  return assignment;
}

// Gives members[0..cuts[0]) to device 0, and so on; the last cut must be members.size().
void deal(const std::vector<std::uint32_t>& members, const std::vector<std::uint64_t>& cuts, Assignment& assignment) {
  std::uint64_t begin = 0;
  for (std::size_t d = 0; d < cuts.size(); ++d) {
    const auto from = members.begin() + static_cast<std::ptrdiff_t>(begin);
    assignment[d].insert(assignment[d].end(), from, members.begin() + static_cast<std::ptrdiff_t>(cuts[d]));
    begin = cuts[d];
  }
}

Assignment cut_dirichlet(const Classes& classes, double alpha, std::uint32_t devices, Random& random) {
  Assignment assignment(devices);
  for (const auto& members : classes) {
    if (members.empty()) {
      continue;
    }
    const std::vector<double> shares = random.dirichlet(alpha, devices);
    std::vector<std::uint64_t> cuts;
    double cumulative = 0;
    for (const double share : shares) {
      cumulative += share;
      const double cut = cumulative * static_cast<double>(members.size());
      cuts.push_back(std::min<std::uint64_t>(static_cast<std::uint64_t>(cut), members.size()));
    }
    cuts.back() = members.size();
    deal(members, cuts, assignment);
  }
  return assignment;
}

// How many shards each class is cut into: in proportion to its size, at least one, `total` together.
std::vector<std::uint64_t> shards_of_classes(const Classes& classes, std::uint64_t total) {
  std::vector<std::uint64_t> shards(label_values, 0);
  std::uint64_t given = 0;
  for (std::size_t c = 0; c < label_values; ++c) {
    shards[c] = classes[c].empty() ? 0 : 1;
    given += shards[c];
  }
  for (; given < total; ++given) {  // the next one goes where shards are largest
    std::size_t largest = 0;
    for (std::size_t c = 1; c < label_values; ++c) {
      if (classes[c].size() * std::max<std::uint64_t>(shards[largest], 1) >
          classes[largest].size() * std::max<std::uint64_t>(shards[c], 1)) {
        largest = c;
      }
    }
    ++shards[largest];
  }
  return shards;
}

Result<Assignment> cut_shards(const Classes& classes, std::uint32_t per_device, std::uint32_t devices, Random& random) {
  const std::uint64_t total = std::uint64_t{per_device} * devices;
  const auto present =
      static_cast<std::uint64_t>(std::ranges::count_if(classes, [](const auto& members) { return !members.empty(); }));
  if (total < present) {
    return fail(ErrorKind::permanent,
                "shards:{} over {} devices makes {} shards, fewer than the {} classes: use shards:{} or more devices",
                per_device, devices, total, present, (present + devices - 1) / devices);
  }
  std::uint64_t samples = 0;
  for (const auto& members : classes) {
    samples += members.size();
  }
  if (total > samples) {
    return fail(ErrorKind::permanent, "shards:{} over {} devices makes {} shards of {} samples: use fewer", per_device,
                devices, total, samples);
  }
  std::vector<std::span<const std::uint32_t>> shards;
  const std::vector<std::uint64_t> counts = shards_of_classes(classes, total);
  for (std::size_t c = 0; c < label_values; ++c) {
    const std::span<const std::uint32_t> members(classes[c]);
    for (std::uint64_t s = 0; s < counts[c]; ++s) {
      const std::size_t begin = s * members.size() / counts[c];
      shards.push_back(members.subspan(begin, (s + 1) * members.size() / counts[c] - begin));
    }
  }
  random.shuffle(std::span(shards));
  Assignment assignment(devices);
  for (std::size_t i = 0; i < shards.size(); ++i) {
    auto& mine = assignment[i / per_device];
    mine.insert(mine.end(), shards[i].begin(), shards[i].end());
  }
  return assignment;
}

Result<Assignment> cut_by_class(const Classes& classes, const Scheme& scheme, std::uint32_t devices, Random& random) {
  switch (scheme.kind) {
    case Scheme::Kind::shards: return cut_shards(classes, scheme.shards, devices, random);
    case Scheme::Kind::power_law: return cut_power_law(classes, scheme.shards, devices, random);
    default: return cut_dirichlet(classes, scheme.alpha, devices, random);
  }
}

// Of each class, the share of the test samples that the device has of the train samples.
Assignment follow_train(const Assignment& train, std::span<const std::uint8_t> train_labels,
                        const Classes& test_classes) {
  Assignment test(train.size());
  std::vector<std::array<std::uint64_t, label_values>> counts(train.size());
  for (std::size_t d = 0; d < train.size(); ++d) {
    for (const std::uint32_t index : train[d]) {
      ++counts[d][train_labels[index]];
    }
  }
  for (std::size_t c = 0; c < label_values; ++c) {
    std::uint64_t total = 0;
    for (const auto& device : counts) {
      total += device[c];
    }
    std::vector<std::uint64_t> cuts;
    std::uint64_t before = 0;
    for (std::size_t d = 0; d < train.size(); ++d) {
      before += total == 0 ? 1 : counts[d][c];  // a class no device trains on is dealt out evenly
      cuts.push_back(before * test_classes[c].size() / (total == 0 ? train.size() : total));
    }
    deal(test_classes[c], cuts, test);
  }
  return test;
}

// Rounding and small alphas leave devices without samples: each gets one from the device with the most.
void leave_none_empty(Assignment& assignment) {
  for (auto& mine : assignment) {
    if (mine.empty()) {
      auto& largest = *std::ranges::max_element(assignment, {}, &std::vector<std::uint32_t>::size);
      mine.push_back(largest.back());
      largest.pop_back();
    }
  }
}

void sort_each(Assignment& assignment) {
  for (auto& mine : assignment) {
    std::ranges::sort(mine);
  }
}

Result<> check(std::size_t train, std::size_t test, std::uint32_t devices) {
  if (devices == 0 || devices > max_devices) {
    return fail(ErrorKind::permanent, "{} devices: 1 to {} are possible", devices, max_devices);
  }
  if (train < devices || test < devices) {
    return fail(ErrorKind::permanent, "{} devices cannot share {} train and {} test samples: use fewer devices",
                devices, train, test);
  }
  return {};
}

template <class T>
bool parse_number(std::string_view text, T& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<Scheme> Scheme::parse(std::string_view text) {
  constexpr double min_alpha = 0.001;
  constexpr double max_alpha = 1e6;
  constexpr std::uint32_t max_shards = 1000;
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const std::string_view value = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  Scheme scheme;
  if (text == "iid") {
    return scheme;
  }
  if (name == "dirichlet" && parse_number(value, scheme.alpha) && scheme.alpha >= min_alpha &&
      scheme.alpha <= max_alpha) {
    scheme.kind = Kind::dirichlet;
    return scheme;
  }
  if (name == "shards" && parse_number(value, scheme.shards) && scheme.shards >= 1 && scheme.shards <= max_shards) {
    scheme.kind = Kind::shards;
    return scheme;
  }
  if (name == "powerlaw" && parse_number(value, scheme.shards) && scheme.shards >= 1 && scheme.shards <= label_values) {
    scheme.kind = Kind::power_law;
    return scheme;
  }
  return fail(ErrorKind::permanent,
              "'{}' is no partition: use iid, dirichlet:A (A from {} to {}), shards:K (K from 1 to {}) or powerlaw:K",
              text.substr(0, 64), min_alpha, max_alpha, max_shards);
}

std::string Scheme::text() const {
  switch (kind) {
    case Kind::dirichlet: return fmt::format("dirichlet:{}", alpha);
    case Kind::shards: return fmt::format("shards:{}", shards);
    case Kind::power_law: return fmt::format("powerlaw:{}", shards);
    case Kind::iid: break;
  }
  return "iid";
}

Result<Split> split(std::span<const std::uint8_t> train_labels, std::span<const std::uint8_t> test_labels,
                    const Scheme& scheme, std::uint32_t devices, std::uint64_t seed) {
  if (auto checked = check(train_labels.size(), test_labels.size(), devices); !checked) {
    return fail(checked.error());
  }
  Random random(seed);
  Split result;
  if (scheme.kind == Scheme::Kind::iid) {
    result.train = cut_evenly(train_labels.size(), devices, random);
    result.test = cut_evenly(test_labels.size(), devices, random);
  } else {
    const Classes train_classes = by_class(train_labels, random);
    const Classes test_classes = by_class(test_labels, random);
    auto train = cut_by_class(train_classes, scheme, devices, random);
    if (!train) {
      return fail(train.error());
    }
    leave_none_empty(*train);
    result.train = std::move(*train);
    result.test = follow_train(result.train, train_labels, test_classes);
    leave_none_empty(result.test);
  }
  sort_each(result.train);
  sort_each(result.test);
  return result;
}

}  // namespace flops::partition
