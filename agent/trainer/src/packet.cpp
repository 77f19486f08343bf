#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "flops/trainer/job.hpp"

namespace flops::trainer {
namespace {

constexpr std::size_t control_bytes = CMSG_SPACE(max_descriptors * sizeof(int));

Error socket_error(int code, std::string_view doing) {
  if (code == EAGAIN || code == EWOULDBLOCK) {
    return {ErrorKind::transient, fmt::format("{}: would block", doing)};
  }
  if (code == EPIPE || code == ECONNRESET) {
    return {ErrorKind::cancelled, fmt::format("{}: the other end is closed", doing)};
  }
  return errno_error(code, doing);
}

// Every descriptor that came, owned at once so that none leaks whatever is wrong with the packet.
std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> descriptors;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

}  // namespace

Result<> send_packet(int socket, std::string_view text, const std::vector<int>& descriptors) {
  if (text.empty() || text.size() > max_packet || descriptors.size() > max_descriptors) {
    return fail(ErrorKind::permanent, "a packet of {} bytes and {} descriptors; allowed are 1 to {} and at most {}",
                text.size(), descriptors.size(), max_packet, max_descriptors);
  }
  std::string bytes(text);  // iovec wants it mutable
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, control_bytes> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t payload = descriptors.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(payload);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(payload);
    std::memcpy(CMSG_DATA(header), descriptors.data(), payload);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    return fail(socket_error(errno, "sending a packet"));
  }
  return {};
}

Result<Packet> receive_packet(int socket) {
  Packet packet;
  packet.text.resize(max_packet);
  iovec part{packet.text.data(), packet.text.size()};
  alignas(cmsghdr) std::array<char, control_bytes> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return fail(socket_error(errno, "receiving a packet"));
  }
  packet.descriptors = take_descriptors(message);
  if (got == 0) {
    return fail(ErrorKind::cancelled, "receiving a packet: the other end is closed");
  }
  const auto flags = static_cast<unsigned>(message.msg_flags);
  if ((flags & static_cast<unsigned>(MSG_TRUNC)) != 0) {
    return fail(ErrorKind::permanent, "a packet of more than {} bytes was refused", max_packet);
  }
  if ((flags & static_cast<unsigned>(MSG_CTRUNC)) != 0 || packet.descriptors.size() > max_descriptors) {
    return fail(ErrorKind::permanent, "a packet with more than {} descriptors was refused", max_descriptors);
  }
  packet.text.resize(static_cast<std::size_t>(got));
  return packet;
}

Result<Fd> make_memfd(const char* name, std::uint64_t bytes) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("making shared memory '{}'", name)));
  }
  if (bytes == 0) {
    return fd;
  }
  if (bytes > static_cast<std::uint64_t>(INT64_MAX) || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail(errno_error(errno, fmt::format("sizing shared memory '{}' to {} bytes", name, bytes)));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail(errno_error(errno, fmt::format("sealing shared memory '{}'", name)));
  }
  return fd;
}

}  // namespace flops::trainer
