#include "progress.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

namespace flops::models {
namespace {

static_assert(std::endian::native == std::endian::little, "a checkpoint is written as it lies in memory");

using torch::optim::Adam;
using torch::optim::AdamParamState;
using torch::optim::SGD;
using torch::optim::SGDOptions;
using torch::optim::SGDParamState;

constexpr std::array<char, 8> magic = {'f', 'l', 'o', 'p', 's', 'c', 'k', '1'};

struct Header {
  std::array<char, 8> mark;
  std::array<std::uint8_t, Digest::size> job;
  std::uint64_t done;
  double loss;
  double seconds;
};
static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) == 64);

// Copies between tensors and a checkpoint, one after the other. The caller has checked the size of the whole.
class Writer {
 public:
  explicit Writer(std::span<std::byte> into) : at_(into.data()) {}
  void bytes(const void* from, std::size_t count) {
    std::memcpy(at_, from, count);
    at_ += count;
  }
  void tensor(const torch::Tensor& values) {
    const torch::Tensor host = in_main_memory(values);
    bytes(host.data_ptr(), host.nbytes());
  }
  void zeros(std::size_t count) {
    std::memset(at_, 0, count);
    at_ += count;
  }

 private:
  std::byte* at_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> from) : at_(from.data()) {}
  void bytes(void* into, std::size_t count) {
    std::memcpy(into, at_, count);
    at_ += count;
  }
  void tensor(const torch::Tensor& values) {
    put(values, at_);
    at_ += values.nbytes();
  }
  [[nodiscard]] torch::Tensor like(const torch::Tensor& other) {
    torch::Tensor values = torch::empty_like(other, torch::MemoryFormat::Contiguous);
    tensor(values);
    return values;
  }

 private:
  const std::byte* at_;
};

// Up to LibTorch 1.13 a parameter's state is found by its address as text, later by the address.
template <class States>
auto state_key(const States&, const torch::Tensor& parameter) {
  using Key = typename States::key_type;
  if constexpr (std::is_same_v<Key, std::string>) {
    return c10::guts::to_string(parameter.unsafeGetTensorImpl());
  } else {
    return static_cast<Key>(parameter.unsafeGetTensorImpl());
  }
}

// Tensors an optimiser keeps for each parameter.
std::size_t slots_of(torch::optim::Optimizer& optimizer) {
  if (dynamic_cast<Adam*>(&optimizer) != nullptr) {
    return 2;
  }
  const auto& options = static_cast<const SGDOptions&>(optimizer.param_groups().front().options());
  return options.momentum() != 0 ? 1 : 0;
}

// How often the parameter was stepped (0: it has no state yet), then its slots.
void write_state(Writer& writer, torch::optim::Optimizer& optimizer, const torch::Tensor& parameter,
                 std::size_t slots) {
  const auto found = optimizer.state().find(state_key(optimizer.state(), parameter));
  std::int64_t steps = 0;
  std::array<torch::Tensor, 2> kept;
  if (found != optimizer.state().end()) {
    if (slots == 2) {
      const auto& state = static_cast<const AdamParamState&>(*found->second);
      steps = state.step();
      kept = {state.exp_avg(), state.exp_avg_sq()};
    } else {
      kept[0] = static_cast<const SGDParamState&>(*found->second).momentum_buffer();
      steps = kept[0].defined() ? 1 : 0;
    }
  }
  writer.bytes(&steps, sizeof steps);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    if (steps > 0) {
      writer.tensor(kept[slot]);
    } else {
      writer.zeros(parameter.nbytes());
    }
  }
}

void read_state(Reader& reader, torch::optim::Optimizer& optimizer, const torch::Tensor& parameter, std::size_t slots) {
  std::int64_t steps = 0;
  reader.bytes(&steps, sizeof steps);
  std::array<torch::Tensor, 2> kept;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    kept[slot] = reader.like(parameter.detach());
  }
  if (steps == 0) {
    return;
  }
  if (slots == 2) {
    auto state = std::make_unique<AdamParamState>();
    state->step(steps);
    state->exp_avg(kept[0]);
    state->exp_avg_sq(kept[1]);
    optimizer.state()[state_key(optimizer.state(), parameter)] = std::move(state);
  } else {
    auto state = std::make_unique<SGDParamState>();
    state->momentum_buffer(kept[0]);
    optimizer.state()[state_key(optimizer.state(), parameter)] = std::move(state);
  }
}

std::vector<torch::Tensor> counting_buffers(const Net& net) {
  std::vector<torch::Tensor> found;
  for (const auto& buffer : net.buffers()) {
    if (!buffer.is_floating_point()) {
      found.push_back(buffer);
    }
  }
  return found;
}

}  // namespace

struct TrainingSnapshot::Sizes {
  std::uint64_t random = 0;
  std::uint64_t buffers = 0;  // those that are no parameters of the layout
  std::uint64_t optimizer = 0;
  std::uint64_t total = 0;
};

TrainingSnapshot::TrainingSnapshot(Model::Parts& parts, torch::optim::Optimizer& optimizer, const Digest& job,
                                   const Position& position)
    : parts_(parts), optimizer_(optimizer), job_(job), position_(position) {}

TrainingSnapshot::Sizes TrainingSnapshot::sizes() const {
  Sizes sizes;
  sizes.random = parts_.net->random().get_state().nbytes();
  for (const torch::Tensor& buffer : counting_buffers(*parts_.net)) {
    sizes.buffers += buffer.nbytes();
  }
  const std::size_t slots = slots_of(optimizer_);
  if (slots > 0) {
    for (const torch::Tensor& parameter : parts_.net->parameters()) {
      sizes.optimizer += sizeof(std::int64_t) + slots * parameter.nbytes();
    }
  }
  sizes.total = sizeof(Header) + sizes.random + parts_.layout.bytes() + sizes.buffers + sizes.optimizer;
  return sizes;
}

std::uint64_t TrainingSnapshot::bytes() const {
  return sizes().total;
}

Result<> TrainingSnapshot::write(std::span<std::byte> into) const {
  return guarded("writing a checkpoint", [&]() -> Result<> {
    if (into.size() != sizes().total) {
      return fail(ErrorKind::bug, "a checkpoint of {} bytes was given room for {}", sizes().total, into.size());
    }
    const torch::NoGradGuard no_grad;
    Writer writer(into);
    const Header header{magic, job_.bytes(), position_.done, position_.loss, position_.seconds};
    writer.bytes(&header, sizeof header);
    writer.tensor(parts_.net->random().get_state());
    for (const torch::Tensor& values : parts_.tensors) {
      writer.tensor(values);
    }
    for (const torch::Tensor& buffer : counting_buffers(*parts_.net)) {
      writer.tensor(buffer);
    }
    if (const std::size_t slots = slots_of(optimizer_); slots > 0) {
      for (const torch::Tensor& parameter : parts_.net->parameters()) {
        write_state(writer, optimizer_, parameter, slots);
      }
    }
    return {};
  });
}

Result<Position> TrainingSnapshot::restore(std::span<const std::byte> from, std::uint64_t total) {
  return guarded("resuming from a checkpoint", [&]() -> Result<Position> {
    if (from.size() != sizes().total) {
      return fail(ErrorKind::corrupt, "a checkpoint of this job has {} bytes, not {}", sizes().total, from.size());
    }
    Header header{};
    Reader reader(from);
    reader.bytes(&header, sizeof header);
    if (header.mark != magic || header.job != job_.bytes() || header.done > total) {
      return fail(ErrorKind::corrupt, "the checkpoint is of another job or of another version of this program");
    }
    const torch::NoGradGuard no_grad;
    at::Generator& random = parts_.net->random();
    random.set_state(reader.like(random.get_state()));
    for (const torch::Tensor& values : parts_.tensors) {
      reader.tensor(values);
    }
    for (const torch::Tensor& buffer : counting_buffers(*parts_.net)) {
      reader.tensor(buffer);
    }
    if (const std::size_t slots = slots_of(optimizer_); slots > 0) {
      for (const torch::Tensor& parameter : parts_.net->parameters()) {
        read_state(reader, optimizer_, parameter, slots);
      }
    }
    return Position{header.done, header.loss, header.seconds};
  });
}

}  // namespace flops::models
