#include "population.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "flops/crypto/digest.hpp"
#include "flops/partition/dataset.hpp"
#include "flops/partition/random.hpp"

namespace flops::sim {
namespace {

std::uint64_t hashed(std::uint64_t seed, std::string_view what, const DeviceId& learner, std::int64_t round) {
  const Digest digest = crypto::sha256(fmt::format("sim/{}/{}/{}/{}", seed, what, learner, round));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value = value << 8U | digest.bytes()[i];
  }
  return value;
}

Result<models::Split> split_of(partition::IdxArray images, partition::IdxArray labels, const std::string& name) {
  if (images.dimensions.size() != 3) {
    return fail(ErrorKind::permanent, "{}: expected images, samples x rows x columns", name);
  }
  models::Split split;
  split.count = images.dimensions[0];
  split.rows = images.dimensions[1];
  split.columns = images.dimensions[2];
  split.pixels = std::move(images.values);
  split.labels = std::move(labels.values);
  split.samples_name = name;
  split.labels_name = name;
  return split;
}

void append(models::Split& whole, models::Split part) {
  if (whole.count == 0) {
    whole = std::move(part);
    return;
  }
  whole.count += part.count;
  whole.pixels.insert(whole.pixels.end(), part.pixels.begin(), part.pixels.end());
  whole.numbers.insert(whole.numbers.end(), part.numbers.begin(), part.numbers.end());
  whole.labels.insert(whole.labels.end(), part.labels.begin(), part.labels.end());
}

// The next `count` places.
std::vector<std::uint32_t> following(std::uint32_t first, std::uint32_t count) {
  std::vector<std::uint32_t> places(count);
  std::iota(places.begin(), places.end(), first);
  return places;
}

Result<> same_shape(const models::Split& whole, const models::Split& part) {
  const bool alike = whole.count == 0 || (whole.rows == part.rows && whole.columns == part.columns &&
                                          whole.numbers.empty() == part.numbers.empty());
  return alike ? Result<>()
               : fail(ErrorKind::permanent, "{}: samples of another shape than the others'", part.samples_name);
}

}  // namespace

double draw(std::uint64_t seed, std::string_view what, const DeviceId& learner, std::int64_t round) {
  return partition::Random(hashed(seed, what, learner, round)).uniform();
}

Result<Population> Population::load(const Project& project) {
  Population population;
  population.speed_spread_ = project.devices.speed_spread;
  population.seed_ = project.run.seed;
  auto loaded = project.parts.empty() ? population.cut(project) : population.gather(project);
  return loaded ? Result<Population>(std::move(population)) : fail(loaded.error());
}

// One data set over many learners, as `flopsctl dataset partition` cuts it.
Result<> Population::cut(const Project& project) {
  auto scheme = partition::Scheme::parse(project.partition);
  if (!scheme) {
    return fail(scheme.error());
  }
  auto dataset = partition::load_dataset(project.data);
  if (!dataset) {
    return fail(dataset.error());
  }
  auto parts = partition::split(dataset->train_labels.values, dataset->test_labels.values, *scheme,
                                static_cast<std::uint32_t>(project.learners), project.run.seed);
  if (!parts) {
    return fail(parts.error());
  }
  auto train = split_of(std::move(dataset->train_images), std::move(dataset->train_labels), project.data.string());
  auto test = split_of(std::move(dataset->test_images), std::move(dataset->test_labels), project.data.string());
  if (!train || !test) {
    return fail(train ? test.error() : train.error());
  }
  train_ = *std::move(train);
  test_ = *std::move(test);
  train_places_ = std::move(parts->train);
  test_places_ = std::move(parts->test);
  std::vector<std::string> names;
  for (std::int64_t n = 1; n <= project.learners; ++n) {
    names.push_back(fmt::format("device-{}", n));
  }
  return name(names);
}

// Data that are divided by nature: the folder's names are the learners'.
Result<> Population::gather(const Project& project) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(project.parts, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_directory()) {
      names.push_back(entry->path().filename().string());
    }
  }
  if (error || names.empty()) {
    return fail(ErrorKind::permanent, "{}: {}", project.parts.string(),
                error ? error.message() : "there is no folder of a learner in it");
  }
  std::ranges::sort(names);
  for (const std::string& learner : names) {
    const auto folder = project.parts / learner;
    auto train = models::read_idx(folder / "train-images.idx3-ubyte", folder / "train-labels.idx1-ubyte");
    auto test = models::read_idx(folder / "test-images.idx3-ubyte", folder / "test-labels.idx1-ubyte");
    if (!train || !test) {
      return fail(train ? test.error() : train.error());
    }
    for (const auto& checked : {same_shape(train_, *train), same_shape(test_, *test)}) {
      if (!checked) {
        return checked;
      }
    }
    train_places_.push_back(following(train_.count, train->count));
    test_places_.push_back(following(test_.count, test->count));
    append(train_, *std::move(train));
    append(test_, *std::move(test));
  }
  return name(names);
}

Result<> Population::name(const std::vector<std::string>& names) {
  for (std::size_t n = 0; n < names.size(); ++n) {
    auto id = DeviceId::parse(names[n]);
    if (!id) {
      return fail(id.error());
    }
    numbers_.emplace(*id, n);
    names_.insert(*std::move(id));
  }
  return {};
}

std::uint64_t Population::train_samples(const DeviceId& learner) const {
  return train_places_[number(learner)].size();
}

std::uint64_t Population::test_samples(const DeviceId& learner) const {
  return test_places_[number(learner)].size();
}

models::Split Population::train_split(const DeviceId& learner) const {
  return models::subset(train_, train_places_[number(learner)]);
}

models::Split Population::test_split(const DeviceId& learner) const {
  return models::subset(test_, test_places_[number(learner)]);
}

double Population::speed(const DeviceId& learner) const {
  if (speed_spread_ == 0) {
    return 1;
  }
  const double normal = partition::Random(hashed(seed_, "speed", learner, 0)).normal();
  return partition::portable_exp(normal * speed_spread_);
}

}  // namespace flops::sim
