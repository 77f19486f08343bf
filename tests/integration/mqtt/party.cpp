#include "party.hpp"

namespace flops::mqtt {

Options options_for(const test::Broker& broker, const test::Identity& identity, const std::string& name) {
  Options options;
  options.host = "localhost";
  options.port = broker.port();
  options.client_id = name;
  options.ca_file = identity.ca;
  options.certificate_file = identity.certificate;
  options.key_file = identity.key;
  return options;
}

Party::Party(boost::asio::io_context& loop, Options options) : loop_(loop) {
  Handlers handlers;
  handlers.connected = [this](bool present) {
    ++connections;
    session_present = present;
  };
  handlers.connect_failed = [this](const Error& error) { failures.push_back(error); };
  handlers.lost = [this](const Error& error) { losses.push_back(error); };
  handlers.message = [this](Message message) { messages.push_back(std::move(message)); };
  auto client = Client::create(loop.get_executor(), std::move(options), std::move(handlers));
  REQUIRE_MESSAGE(client, (client ? "" : client.error().what));
  client_ = std::move(*client);
}

void Party::connect() {
  const int before = connections;
  client_->connect();
  REQUIRE(test::run_until(loop_, [&] { return connections > before || !failures.empty(); }));
  REQUIRE_MESSAGE(failures.empty(), (failures.empty() ? "" : failures.back().what));
  CHECK(client_->connected());
}

Error Party::connect_refused() {
  const std::size_t before = failures.size();
  client_->connect();
  REQUIRE(test::run_until(loop_, [&] { return failures.size() > before || connections > 0; }));
  REQUIRE(connections == 0);
  CHECK_FALSE(client_->connected());
  return failures.back();
}

Result<> Party::await(std::optional<Result<>>& outcome) {
  REQUIRE_FALSE(outcome);
  REQUIRE(test::run_until(loop_, [&] { return outcome.has_value(); }));
  return *outcome;
}

Result<> Party::publish(const std::string& topic, std::string payload, PublishOptions options) {
  std::optional<Result<>> outcome;
  client_->publish(topic, std::move(payload), options, [&](Result<> result) { outcome = std::move(result); });
  return await(outcome);
}

Result<> Party::subscribe(std::vector<std::string> filters) {
  std::optional<Result<>> outcome;
  client_->subscribe(std::move(filters), [&](Result<> result) { outcome = std::move(result); });
  return await(outcome);
}

Result<> Party::unsubscribe(std::vector<std::string> filters) {
  std::optional<Result<>> outcome;
  client_->unsubscribe(std::move(filters), [&](Result<> result) { outcome = std::move(result); });
  return await(outcome);
}

void Party::disconnect() {
  bool done = false;
  client_->disconnect(test::patience, [&] { done = true; });
  CHECK_FALSE(done);
  REQUIRE(test::run_until(loop_, [&] { return done; }));
  CHECK_FALSE(client_->connected());
}

bool Party::await_messages(std::size_t count) {
  return test::run_until(loop_, [&] { return messages.size() >= count; });
}

bool Party::await_loss() {
  return test::run_until(loop_, [&] { return !losses.empty(); });
}

}  // namespace flops::mqtt
