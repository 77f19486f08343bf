// Strict reading of one JSON object: every field is asked for by name, type and range; the first thing that is wrong is
// kept, and what nobody asked for is wrong too.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "flops/core/error.hpp"
#include "flops/trainer/job.hpp"

namespace flops::trainer {

// permanent: larger than a packet, not JSON, or not an object.
[[nodiscard]] Result<boost::json::object> parse_object(std::string_view text);

class Fields {
 public:
  // `where` prefixes names in messages: "training.".
  Fields(const boost::json::object& object, std::string where) : object_(object), where_(std::move(where)) {}

  [[nodiscard]] bool has(std::string_view name) const { return object_.contains(name); }
  [[nodiscard]] std::string text(std::string_view name, std::size_t max_bytes);
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t min, std::int64_t max);
  [[nodiscard]] std::uint64_t natural(std::string_view name);
  [[nodiscard]] double number(std::string_view name, double min, double max);
  [[nodiscard]] bool boolean(std::string_view name);
  // An empty object when there is something wrong.
  [[nodiscard]] const boost::json::object& object(std::string_view name);
  // An empty array when there is something wrong.
  [[nodiscard]] const boost::json::array& array(std::string_view name, std::size_t max_items);
  void complain(std::string_view name, std::string_view what);
  // permanent with the first complaint.
  [[nodiscard]] Result<> done();

 private:
  const boost::json::value* take(std::string_view name);
  const boost::json::object& object_;
  std::string where_;
  std::vector<std::string_view> taken_;
  std::string complaint_;
};

[[nodiscard]] boost::json::object place_object(const Place& place);
// permanent: an end beyond what a file can have.
[[nodiscard]] Result<Place> read_place(const boost::json::object& object, std::string where);

}  // namespace flops::trainer
