#include "flops/tensor/control_variates.hpp"

#include <string>

#include "json_text.hpp"

namespace flops::tensor {

Result<Layout> with_variates(const Layout& model) {
  std::vector<TensorSpec> tensors = model.tensors();
  tensors.reserve(2 * tensors.size());
  for (const TensorSpec& tensor : model.tensors()) {
    tensors.push_back({std::string(variate_prefix) + tensor.name, tensor.shape, 0, 0});
  }
  auto both = Layout::create(std::move(tensors));
  return both ? both : fail(both.error(), "the model with its control variates");
}

Result<Layout> without_variates(const Layout& travelling) {
  const std::vector<TensorSpec>& all = travelling.tensors();
  const std::size_t half = all.size() / 2;
  if (all.size() % 2 != 0) {
    return fail(ErrorKind::permanent, "{} tensors are no model with a control variate for each", all.size());
  }
  for (std::size_t i = 0; i < half; ++i) {
    const TensorSpec& variate = all[half + i];
    if (!variate.name.starts_with(variate_prefix) || variate.name.substr(variate_prefix.size()) != all[i].name) {
      return fail(ErrorKind::permanent, "tensor '{}' stands where the control variate '{}{}' must be",
                  printable(variate.name), variate_prefix, printable(all[i].name));
    }
    if (variate.shape != all[i].shape) {
      return fail(ErrorKind::permanent, "the control variate '{}' has another shape than its tensor",
                  printable(variate.name));
    }
  }
  return Layout::create({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(half)});
}

void variate_to_return(std::span<const float> server, std::span<const float> before, std::span<const float> after,
                       std::span<float> into) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i] = static_cast<float>(double{server[i]} + (double{after[i]} - double{before[i]}));
  }
}

}  // namespace flops::tensor
