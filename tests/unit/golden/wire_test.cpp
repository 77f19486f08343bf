// The JSON of messages, numbers above all. A change of the protocol gives other digests, again the same everywhere.
#include <limits>

#include <doctest/doctest.h>

#include "flops/wire/messages.hpp"
#include "inputs.hpp"

namespace flops::golden {
namespace {

wire::TaskRef reference() {
  return {TaskId::parse("run-1.r3.abc").value(), RunId::parse("run-1").value(), 1, 3};
}

Digest digest(char c) {
  return Digest::from_hex(std::string(64, c)).value();
}

std::string digest_of_text(const std::string& text) {
  return digest_of(std::as_bytes(std::span(text)));
}

wire::Task task() {
  wire::Task made;
  made.ref = reference();
  made.model = "cnn-small";
  made.data = "fashion-mnist";
  made.seed = std::numeric_limits<std::uint64_t>::max();
  made.layout_text = layout().canonical();
  made.base = digest('a');
  made.base_blob = wire::BlobRef{digest('b'), 99};
  made.base_blob_base = digest('c');
  made.training.learning_rate = 0.1;
  made.training.momentum = 1.0 / 3.0;
  made.training.weight_decay = 5e-324;
  made.training.proximal = 1e6;
  made.evaluate = true;
  made.part = wire::Part{7, R"({"rounds":1})"};
  return made;
}

std::string from_device() {
  wire::ResultMessage result;
  result.ref = reference();
  result.update = {digest('c'), 12'345};
  result.layout = digest('d');
  result.base = digest('e');
  result.weight = 600;
  result.train_loss = 0.1 + 0.2;
  result.train_seconds = 2.5;
  result.steps = wire::max_steps;
  wire::DeviceState state;
  state.online = true;
  state.labels = {{"site", "north \"1\" \xc3\xa9"}};
  state.load = 1e-7;
  state.temperature = 41.3;
  state.health = {{"clock", "1970"}};
  return wire::encode(
             wire::Hello{"s", "0.1.0", "aarch64", 4, 8ULL << 30U, {}, {{"mnist", 100, 20}}, {digest('a')}, {}}) +
         wire::encode(result) + wire::encode(state) +
         wire::encode(wire::Metrics{reference(), digest('b'), 7, 2.0 / 3.0, 0.9, 1e21, wire::Spread{0.25, 1, 3}});
}

std::string from_coordinator() {
  return wire::encode(task()) + wire::encode(wire::Grant{reference(), digest('a'), {{0, 3}, {7, 7}}}) +
         wire::encode(wire::Receipt{reference(), digest('a'), wire::ReceiptStatus::rejected, "NaN"}) +
         wire::encode(wire::RunStatus{reference().run, "running", 1, 2, 5, 4, 0.7, 0.1, 1ULL << 63U, 200});
}

}  // namespace

TEST_CASE("golden: a device's messages have these bytes on every machine") {
  CHECK_MESSAGE(digest_of_text(from_device()) == "c5c1971172d7594a590d76e65eda6a574949ae927b7648d6d7e3b8aa1f32e576",
                from_device());
}

TEST_CASE("golden: a coordinator's messages have these bytes on every machine") {
  CHECK_MESSAGE(
      digest_of_text(from_coordinator()) == "42ed5a3f1b8d673201d5664a0d304990a354d1a223b049d3dbb4761944b00d42",
      from_coordinator());
}

TEST_CASE("golden: numbers read from a message are the same bits on every machine") {
  const auto read = wire::decode<wire::Task>(wire::encode(task()));
  REQUIRE(read.has_value());
  CHECK(read->training == task().training);
}

}  // namespace flops::golden
