// Reads a JSON object field by field and tells everything that is wrong with it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "flops/core/error.hpp"

namespace flops::rounds {

namespace json = boost::json;

// Reads fields of one object, collects all problems, and at the end the fields nobody asked for.
class Fields {
 public:
  Fields(const json::object& in, std::vector<std::string>& problems, std::string prefix)
      : in_(in), problems_(problems), prefix_(std::move(prefix)) {}

  void text(const char* name, std::string& into, std::size_t limit, bool required) {
    const json::value* value = find(name);
    if (value == nullptr) {
      if (required) {
        wrong(name, "is missing");
      }
      return;
    }
    const auto* string = value->if_string();
    if (string == nullptr || string->empty() || string->size() > limit) {
      wrong(name, fmt::format("expected text of 1 to {} bytes", limit));
      return;
    }
    into.assign(string->data(), string->size());
  }

  template <class Integer>
  void integer(const char* name, Integer& into, std::int64_t min, std::int64_t max) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return;
    }
    const auto* number = value->if_int64();
    if (number == nullptr || *number < min || *number > max) {
      wrong(name, fmt::format("expected an integer from {} to {}", min, max));
      return;
    }
    into = static_cast<Integer>(*number);
  }

  void number(const char* name, double& into, double min, double max) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return;
    }
    json::error_code error;
    const double number = value->to_number<double>(error);
    if (error || !(number >= min && number <= max)) {
      wrong(name, fmt::format("expected a number from {} to {}", min, max));
      return;
    }
    into = number;
  }

  void boolean(const char* name, bool& into) {
    const json::value* value = find(name);
    if (value == nullptr) {
      return;
    }
    if (!value->is_bool()) {
      wrong(name, "expected true or false");
      return;
    }
    into = value->get_bool();
  }

  void choice(const char* name, std::string& into, const std::vector<std::string_view>& allowed) {
    std::string value = into;
    text(name, value, 64, false);
    for (const std::string_view candidate : allowed) {
      if (value == candidate) {
        into = value;
        return;
      }
    }
    wrong(name, fmt::format("expected one of: {}", fmt::join(allowed, ", ")));
  }

  [[nodiscard]] const json::value* find(const char* name) {
    known_.insert(name);
    return in_.if_contains(name);
  }

  void wrong(std::string_view name, std::string_view what) {
    problems_.push_back(fmt::format("{}{}: {}", prefix_, name, what));
  }

  void refuse_unknown() {
    for (const auto& member : in_) {
      if (!known_.contains(member.key())) {
        wrong(member.key(), "unknown field");
      }
    }
  }

 private:
  const json::object& in_;
  std::vector<std::string>& problems_;
  std::string prefix_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace flops::rounds
