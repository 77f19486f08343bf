#include "datagram.hpp"

#include <cstddef>

#include <sys/socket.h>
#include <sys/un.h>

#include "flops/core/fd.hpp"

namespace flops::service {

bool send_datagram(std::string_view socket_name, const std::string& message) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_name.empty() || socket_name.size() >= sizeof address.sun_path) {
    return false;
  }
  socket_name.copy(address.sun_path, socket_name.size());
  if (socket_name.front() == '@') {
    address.sun_path[0] = '\0';
  }
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_name.size());
  return ::sendto(socket.get(), message.data(), message.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address), size) == static_cast<ssize_t>(message.size());
}

}  // namespace flops::service
