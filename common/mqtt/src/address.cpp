#include "address.hpp"

#include <string>

#include <sys/socket.h>

namespace flops::mqtt {

Result<Addresses> resolve(const Options& options) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(options.host.c_str(), std::to_string(options.port).c_str(), &hints, &list);
  if (code != 0) {
    return fail(ErrorKind::transient, "'{}' is not known: {}", options.host, ::gai_strerror(code));
  }
  return Addresses(list);
}

}  // namespace flops::mqtt
