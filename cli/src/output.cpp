#include "output.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <boost/json/serialize.hpp>

#include "flops/core/id.hpp"

namespace flops::cli {

Outcome<> print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return give_up(exit_failed, "writing the output: {}", std::strerror(errno));
  }
  return exit_ok;
}

Outcome<> print_json(const boost::json::value& value) {
  return print(boost::json::serialize(value) + "\n");
}

Outcome<> show(const Context& context, const boost::json::value& value,
               std::string (*view)(const boost::json::value&)) {
  return context.format == Format::json ? print_json(value) : print(view(value));
}

Outcome<> check_id(std::string_view id) {
  if (!is_valid_id(id)) {
    return give_up(exit_usage, "'{}' is no id: ids have a-z, 0-9, '.', '_', '-', at most {} characters",
                   id.substr(0, max_id_length), max_id_length);
  }
  return exit_ok;
}

Outcome<Api> Context::api() const {
  auto loaded = load_settings(settings);
  if (!loaded) {
    return give_up(loaded.error());
  }
  return Api(std::move(*loaded));
}

}  // namespace flops::cli
