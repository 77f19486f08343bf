#include "flops/aggregation/model_folder.hpp"

#include <functional>
#include <string_view>
#include <vector>

#include "flops/crypto/digest.hpp"

namespace flops::aggregation {
namespace {

constexpr std::string_view unfinished_prefix = "new-";
constexpr std::string_view unfinished_suffix = ".part";
constexpr std::string_view state_suffix = ".state.safetensors";

// Removes the files whose name `unwanted` picks.
Result<> remove_files(const std::filesystem::path& folder, std::string_view what,
                      const std::function<bool(const std::string&)>& unwanted) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (unwanted(entry->path().filename().string())) {
      std::filesystem::remove(entry->path(), error);
    }
  }
  return error ? fail(errno_error(error.value(), fmt::format("removing {} in {}", what, folder.string()))) : Result<>();
}

}  // namespace

std::filesystem::path ModelFolder::state_path_of(const Digest& state) const {
  return folder_ / fmt::format("{}{}", state.hex(), state_suffix);
}

Result<> ModelFolder::keep_states(const std::set<Digest>& needed) const {
  return remove_files(folder_, "states", [&needed](const std::string& name) {
    if (!name.ends_with(state_suffix)) {
      return false;
    }
    const auto state = Digest::from_hex(name.substr(0, name.size() - state_suffix.size()));
    return state && !needed.contains(*state);
  });
}

std::filesystem::path ModelFolder::unfinished_file() const {
  return folder_ /
         fmt::format("{}{}{}", unfinished_prefix, crypto::base64url(crypto::random_bytes(9)), unfinished_suffix);
}

Result<> ModelFolder::remove_unfinished() const {
  return remove_files(folder_, "unfinished models", [](const std::string& name) {
    return name.starts_with(unfinished_prefix) && name.ends_with(unfinished_suffix);
  });
}

Result<tensor::Layout> state_layout(const tensor::Layout& model, std::size_t vectors) {
  std::vector<tensor::TensorSpec> tensors;
  for (std::size_t k = 0; k < vectors; ++k) {
    for (const tensor::TensorSpec& tensor : model.tensors()) {
      tensors.push_back({fmt::format("{}/{}", k, tensor.name), tensor.shape, 0, 0});
    }
  }
  auto layout = tensor::Layout::create(std::move(tensors));
  return layout ? layout : fail(layout.error(), "the state of the algorithm");
}

}  // namespace flops::aggregation
