// One description of a message's fields serves both directions: Writer builds the JSON object, Reader checks and fills.
//
//   template <class Visitor> void fields(Visitor& v, Ack& m) { ... v.text("reason", m.reason, max_reason); }
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/wire/messages.hpp"

namespace flops::wire {

class Writer {
 public:
  [[nodiscard]] boost::json::object take() { return std::move(out_); }

  void text(const char* name, const std::string& value, std::size_t /*limit*/) { out_[name] = value; }
  // Left out when it is empty.
  void optional_text(const char* name, const std::string& value, std::size_t limit) {
    if (!value.empty()) {
      text(name, value, limit);
    }
  }
  void boolean(const char* name, bool value) { out_[name] = value; }
  void optional_boolean(const char* name, bool value) { boolean(name, value); }
  template <class Integer>
  void integer(const char* name, Integer value, std::int64_t /*min*/, std::int64_t /*max*/) {
    out_[name] = static_cast<std::int64_t>(value);
  }
  void optional_integer(const char* name, std::int64_t value, std::int64_t min, std::int64_t max) {
    integer(name, value, min, max);
  }
  // JSON has no NaN and no Infinity; whoever fills the message has checked, so a stray one becomes 0.
  void number(const char* name, double value, double /*min*/, double /*max*/) {
    out_[name] = std::isfinite(value) ? value : 0.0;
  }
  // Left out when it is 0.
  void optional_bytes(const char* name, std::uint64_t value, std::int64_t max) {
    if (value != 0) {
      integer(name, value, 0, max);
    }
  }
  void optional_number(const char* name, double value, double min, double max) { number(name, value, min, max); }
  // 64 bits do not fit a JSON number everywhere.
  void wide(const char* name, std::uint64_t value) { out_[name] = std::to_string(value); }
  template <class Tag>
  void id(const char* name, const Id<Tag>& value) {
    out_[name] = value.str();
  }
  void optional_digest(const char* name, const Digest& value) {
    if (!value.empty()) {
      out_[name] = value.hex();
    }
  }
  void digest(const char* name, const Digest& value) { out_[name] = value.hex(); }
  void optional_blob(const char* name, const std::optional<BlobRef>& value) {
    if (value) {
      out_[name] = boost::json::object{{"sha256", value->sha256.hex()}, {"size", value->size}};
    }
  }
  template <class Enum>
  void choice(const char* name, Enum value, const std::vector<Enum>& /*all*/) {
    out_[name] = to_string(value);
  }
  template <class Enum>
  void optional_choice(const char* name, Enum value, const std::vector<Enum>& all) {
    choice(name, value, all);
  }
  // Whether there is to be a group of fields.
  [[nodiscard]] static bool says(std::initializer_list<const char*> /*names*/, bool there) { return there; }
  // An object given as its text. Whoever fills the message has checked that it is one.
  void json(const char* name, const std::string& text, std::size_t limit);
  void text_map(const char* name, const std::map<std::string, std::string>& value, std::size_t, std::size_t,
                std::size_t) {
    boost::json::object object;
    for (const auto& [key, text] : value) {
      object[key] = text;
    }
    out_[name] = std::move(object);
  }
  template <class Element, class Describe>
  void objects(const char* name, std::vector<Element>& elements, std::size_t /*limit*/, Describe describe) {
    boost::json::array array;
    for (Element& element : elements) {
      Writer inner;
      describe(inner, element);
      array.emplace_back(inner.take());
    }
    out_[name] = std::move(array);
  }
  template <class Element, class Describe>
  void object(const char* name, Element& element, Describe describe) {
    Writer inner;
    describe(inner, element);
    out_[name] = inner.take();
  }
  void digests(const char* name, const std::vector<Digest>& values, std::size_t /*limit*/) {
    boost::json::array array;
    for (const Digest& value : values) {
      array.emplace_back(value.hex());
    }
    out_[name] = std::move(array);
  }
  void task_ids(const char* name, const std::vector<TaskId>& values, std::size_t /*limit*/) {
    boost::json::array array;
    for (const TaskId& value : values) {
      array.emplace_back(value.str());
    }
    out_[name] = std::move(array);
  }
  void ranges(const char* name, const std::vector<std::pair<std::uint32_t, std::uint32_t>>& values,
              std::size_t /*limit*/) {
    boost::json::array array;
    for (const auto& [first, last] : values) {
      array.emplace_back(boost::json::array{first, last});
    }
    out_[name] = std::move(array);
  }

 private:
  boost::json::object out_;
};

// Keeps the first thing that is wrong; everything after it is skipped.
class Reader {
 public:
  explicit Reader(const boost::json::object& in) : in_(in) {}
  [[nodiscard]] const std::optional<std::string>& problem() const { return problem_; }

  void text(const char* name, std::string& value, std::size_t limit);
  void optional_text(const char* name, std::string& value, std::size_t limit) {
    if (find_optional(name) != nullptr) {
      text(name, value, limit);
    }
  }
  void boolean(const char* name, bool& value);
  void optional_boolean(const char* name, bool& value) {
    if (find_optional(name) != nullptr) {
      boolean(name, value);
    }
  }
  template <class Integer>
  void integer(const char* name, Integer& value, std::int64_t min, std::int64_t max) {
    if (const auto number = read_integer(name, min, max)) {
      value = static_cast<Integer>(*number);
    }
  }
  // Stays as it is when the field is missing: peers of before have not got it.
  void optional_integer(const char* name, std::int64_t& value, std::int64_t min, std::int64_t max) {
    if (find_optional(name) != nullptr) {
      integer(name, value, min, max);
    }
  }
  void optional_bytes(const char* name, std::uint64_t& value, std::int64_t max) {
    if (find_optional(name) != nullptr) {
      integer(name, value, 0, max);
    }
  }
  void number(const char* name, double& value, double min, double max);
  void optional_number(const char* name, double& value, double min, double max) {
    if (find_optional(name) != nullptr) {
      number(name, value, min, max);
    }
  }
  void wide(const char* name, std::uint64_t& value);
  template <class Tag>
  void id(const char* name, Id<Tag>& value) {
    std::string raw;
    text(name, raw, max_id_length);
    if (problem_) {
      return;
    }
    auto parsed = Id<Tag>::parse(raw);
    if (!parsed) {
      wrong(name, parsed.error().what);
      return;
    }
    value = *std::move(parsed);
  }
  void optional_digest(const char* name, Digest& value);
  void digest(const char* name, Digest& value);
  void optional_blob(const char* name, std::optional<BlobRef>& value);
  template <class Enum>
  void choice(const char* name, Enum& value, const std::vector<Enum>& all) {
    std::string raw;
    text(name, raw, 64);
    for (const Enum candidate : all) {
      if (!problem_ && raw == to_string(candidate)) {
        value = candidate;
        return;
      }
    }
    wrong(name, "no such choice");
  }
  template <class Enum>
  void optional_choice(const char* name, Enum& value, const std::vector<Enum>& all) {
    if (find_optional(name) != nullptr) {
      choice(name, value, all);
    }
  }
  // Whether there is any of a group of fields.
  [[nodiscard]] bool says(std::initializer_list<const char*> names, bool /*there*/) const {
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return find_optional(name) != nullptr; });
  }
  void json(const char* name, std::string& text, std::size_t limit);
  void text_map(const char* name, std::map<std::string, std::string>& value, std::size_t entries, std::size_t key_limit,
                std::size_t text_limit);
  template <class Element, class Describe>
  void objects(const char* name, std::vector<Element>& elements, std::size_t limit, Describe describe) {
    const boost::json::array* array = read_array(name, limit);
    if (array == nullptr) {
      return;
    }
    for (const boost::json::value& item : *array) {
      const auto* inner_object = item.if_object();
      if (inner_object == nullptr) {
        wrong(name, "expected objects");
        return;
      }
      Reader inner(*inner_object);
      Element element;
      describe(inner, element);
      if (inner.problem_) {
        wrong(name, *inner.problem_);
        return;
      }
      elements.push_back(std::move(element));
    }
  }
  template <class Element, class Describe>
  void object(const char* name, Element& element, Describe describe) {
    const boost::json::object* inner_object = read_object(name);
    if (inner_object == nullptr) {
      return;
    }
    Reader inner(*inner_object);
    describe(inner, element);
    if (inner.problem_) {
      wrong(name, *inner.problem_);
    }
  }
  void digests(const char* name, std::vector<Digest>& values, std::size_t limit);
  void task_ids(const char* name, std::vector<TaskId>& values, std::size_t limit);
  void ranges(const char* name, std::vector<std::pair<std::uint32_t, std::uint32_t>>& values, std::size_t limit);

 private:
  void wrong(const char* name, std::string_view what);
  [[nodiscard]] const boost::json::value* find(const char* name);  // reports when missing
  [[nodiscard]] const boost::json::value* find_optional(const char* name) const;
  [[nodiscard]] std::optional<std::int64_t> read_integer(const char* name, std::int64_t min, std::int64_t max);
  [[nodiscard]] const boost::json::array* read_array(const char* name, std::size_t limit);
  [[nodiscard]] const boost::json::object* read_object(const char* name);

  const boost::json::object& in_;
  std::optional<std::string> problem_;
};

}  // namespace flops::wire
