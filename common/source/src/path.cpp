// Names of files and repositories, as text.
#include <algorithm>

#include "flops/source/source.hpp"

namespace flops::source {
namespace {

constexpr std::size_t longest_path = 512;
constexpr std::string_view scheme_mark = "://";

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

std::string path_problem(std::string_view path) {
  if (path.empty() || path.size() > longest_path) {
    return fmt::format("expected a path of 1 to {} bytes", longest_path);
  }
  if (std::ranges::any_of(path, is_control) || path.contains('\\')) {
    return "a path has no control characters and no backslash";
  }
  if (path.starts_with('/')) {
    return "expected a path within the project";
  }
  for (std::string_view rest = path;;) {
    const std::size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    if (name.empty() || name == "." || name == "..") {
      return "a path within the project has names between single slashes, none of them '.' or '..'";
    }
    if (name == ".git") {
      return "'.git' is not part of a project";
    }
    if (slash == std::string_view::npos) {
      return {};
    }
    rest.remove_prefix(slash + 1);
  }
}

bool is_git_url(std::string_view text) {
  if (text.contains(scheme_mark)) {
    return true;
  }
  const std::size_t at = text.find('@');
  const std::size_t colon = text.find(':');
  const std::size_t slash = text.find('/');
  return at != std::string_view::npos && colon != std::string_view::npos && at > 0 && at < colon && colon < slash;
}

std::string without_secrets(std::string_view url) {
  const std::size_t mark = url.find(scheme_mark);
  if (mark == std::string_view::npos) {
    return std::string(url);
  }
  const std::size_t begin = mark + scheme_mark.size();
  const std::size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const std::size_t at = url.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < begin) {
    return std::string(url);
  }
  return std::string(url.substr(0, begin)) + std::string(url.substr(at + 1));
}

}  // namespace flops::source
