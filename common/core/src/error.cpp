#include "flops/core/error.hpp"

#include <cerrno>
#include <system_error>

namespace flops {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::transient: return "transient";
    case ErrorKind::permanent: return "permanent";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::denied: return "denied";
    case ErrorKind::resource: return "resource";
    case ErrorKind::clock: return "clock";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::bug: return "bug";
  }
  return "unknown";
}

Error Error::within(std::string_view context) const {
  return {kind, fmt::format("{}: {}", context, what)};
}

Error errno_error(int code, std::string_view doing) {
  ErrorKind kind = ErrorKind::permanent;
  switch (code) {
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE: kind = ErrorKind::resource; break;
    case EAGAIN:
    case EINTR:
    case EIO:  // of a disk: what is read or written may work the next time, and must not be given up for it
    case ETIMEDOUT: kind = ErrorKind::transient; break;
    case EACCES:
    case EROFS:
    case EPERM: kind = ErrorKind::denied; break;
    default: break;
  }
  return {kind, fmt::format("{}: {}", doing, std::generic_category().message(code))};
}

}  // namespace flops
