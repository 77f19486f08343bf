// A client with everything that happens to it written down.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <boost/asio/io_context.hpp>

#include "flops/mqtt/client.hpp"
#include "flops/test/broker.hpp"
#include "flops/test/wait.hpp"

namespace flops::mqtt {

inline const std::string root = "flops/v1/test/";
[[nodiscard]] inline std::string device_topic(const std::string& device, const std::string& rest) {
  return root + "devices/" + device + "/" + rest;
}

// Options of `identity` for the client id `name`.
[[nodiscard]] Options options_for(const test::Broker& broker, const test::Identity& identity, const std::string& name);

class Party {
 public:
  Party(boost::asio::io_context& loop, Options options);
  Party(boost::asio::io_context& loop, test::Broker& broker, const std::string& name)
      : Party(loop, options_for(broker, broker.identity(name), name)) {}

  [[nodiscard]] Client& client() { return *client_; }
  void destroy() { client_.reset(); }

  // These run the loop until the outcome is there.
  void connect();                         // must succeed
  [[nodiscard]] Error connect_refused();  // must fail
  [[nodiscard]] Result<> publish(const std::string& topic, std::string payload, PublishOptions options = {});
  [[nodiscard]] Result<> subscribe(std::vector<std::string> filters);
  [[nodiscard]] Result<> unsubscribe(std::vector<std::string> filters);
  void disconnect();
  [[nodiscard]] bool await_messages(std::size_t count);
  [[nodiscard]] bool await_loss();

  // What happened so far.
  std::vector<Message> messages;
  std::vector<Error> failures;
  std::vector<Error> losses;
  int connections = 0;
  bool session_present = false;

 private:
  [[nodiscard]] Result<> await(std::optional<Result<>>& outcome);

  boost::asio::io_context& loop_;
  std::unique_ptr<Client> client_;
};

}  // namespace flops::mqtt
