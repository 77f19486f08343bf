// dataset partition.
#include "commands.hpp"
#include "flops/partition/dataset.hpp"
#include "flops/partition/split.hpp"
#include "flops/report/table.hpp"
#include "output.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

// Where the Debian package dataset-fashion-mnist puts its files.
constexpr std::string_view fashion_mnist = "/usr/share/datasets/fashion-mnist";

std::filesystem::path source_folder(const std::string& source) {
  return source == "fashion-mnist" ? std::filesystem::path(fashion_mnist) : std::filesystem::path(source);
}

json::value as_json(const std::vector<partition::DevicePart>& parts, const PartitionOptions& options) {
  json::array devices;
  for (const auto& part : parts) {
    devices.push_back({{"device", part.device},
                       {"folder", std::filesystem::absolute(part.folder).string()},
                       {"train_samples", part.train_samples},
                       {"test_samples", part.test_samples},
                       {"train_classes", json::array(part.train_classes.begin(), part.train_classes.end())}});
  }
  return {{"partition", options.scheme}, {"seed", options.seed}, {"devices", std::move(devices)}};
}

std::string as_table(const std::vector<partition::DevicePart>& parts) {
  using report::Align;
  report::Table table({{"DEVICE"}, {"TRAIN", Align::right}, {"TEST", Align::right}, {"TRAIN SAMPLES OF EACH CLASS"}});
  for (const auto& part : parts) {
    table.add({part.device, std::to_string(part.train_samples), std::to_string(part.test_samples),
               fmt::format("{}", fmt::join(part.train_classes, " "))});
  }
  return table.text();
}

}  // namespace

Outcome<> partition_dataset(const Context& context, const PartitionOptions& options) {
  const auto scheme = partition::Scheme::parse(options.scheme);
  if (!scheme) {
    return give_up(exit_usage, "--partition: {}", scheme.error().what);
  }
  const auto dataset = partition::load_dataset(source_folder(options.source));
  if (!dataset) {
    return give_up(exit_failed, "{}", dataset.error().what);
  }
  const auto split = partition::split(dataset->train_labels.values, dataset->test_labels.values, *scheme,
                                      static_cast<std::uint32_t>(options.devices), options.seed);
  if (!split) {
    return give_up(exit_failed, "{}", split.error().what);
  }
  const auto parts = partition::write_parts(*dataset, *split, options.out, options.prefix);
  if (!parts) {
    return give_up(exit_failed, "{}", parts.error().what);
  }
  return context.format == Format::json ? print_json(as_json(*parts, options)) : print(as_table(*parts));
}

}  // namespace flops::cli
