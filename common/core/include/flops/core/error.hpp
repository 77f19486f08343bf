// Errors as values. Nothing of ours throws: exceptions of foreign libraries are caught in the adapter
// that calls the library and become an Error there.
//
// The kind tells the caller what to do; `what` tells a person what happened, where, and what helps.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace flops {

enum class ErrorKind {
  transient,  // retry with back-off and jitter
  permanent,  // give up this piece of work and report it
  corrupt,    // the data is damaged: set it aside
  denied,     // not allowed: a security event
  resource,   // disk, memory or a limit is exhausted: wait longer
  clock,      // this device's clock is wrong: retry with back-off, it may be set meanwhile
  cancelled,  // somebody asked for it
  bug,        // an invariant of ours does not hold
};

[[nodiscard]] std::string_view to_string(ErrorKind kind);

struct Error {
  ErrorKind kind;
  std::string what;

  // The same error, told from one level further up: "opening the database: disk I/O error".
  [[nodiscard]] Error within(std::string_view context) const;
};

template <class T = void>
using Result = std::expected<T, Error>;

// return fail(ErrorKind::corrupt, "page {} has a bad checksum", n);
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(Error{kind, fmt::format(text, std::forward<Args>(args)...)});
}

// Passes an error up, with context.
[[nodiscard]] inline std::unexpected<Error> fail(const Error& error, std::string_view context) {
  return std::unexpected(error.within(context));
}
[[nodiscard]] inline std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}

// The message of errno, in our kinds: full disks and limits are `resource`, the rest `permanent`.
[[nodiscard]] Error errno_error(int code, std::string_view doing);

}  // namespace flops
