// The zoo. To add a model: one file in zoo/, and its line here. The files are headers because every translation unit
// that includes LibTorch costs 20 s and 1 GB to compile.
#include <algorithm>

#include "net.hpp"

#include "zoo/cnn_mcmahan.hpp"
#include "zoo/cnn_norm.hpp"
#include "zoo/cnn_small.hpp"
#include "zoo/logistic.hpp"
#include "zoo/softmax.hpp"
#include "zoo/two_nn.hpp"

namespace flops::models {
namespace {

// Local to a function: it must exist before the first registration.
std::vector<ZooEntry>& entries() {
  static std::vector<ZooEntry> all;
  return all;
}

}  // namespace

const std::vector<ZooEntry>& zoo_entries() {
  return entries();
}

void add_to_zoo(const ZooEntry& entry) {
  const auto place = std::find_if(entries().begin(), entries().end(),
                                  [&](const ZooEntry& other) { return entry.info.name < other.info.name; });
  entries().insert(place, entry);
}

std::vector<ModelInfo> zoo() {
  std::vector<ModelInfo> infos;
  for (const ZooEntry& entry : entries()) {
    infos.push_back(entry.info);
  }
  return infos;
}

}  // namespace flops::models
