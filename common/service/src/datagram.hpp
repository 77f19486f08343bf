// How systemd is talked to: one datagram a message, to a socket with a name. Its protocols are stable and meant to be
// spoken without its library (sd_notify(3), "Notes"; the journal's native protocol), which with all that it loads would
// cost an idle device a megabyte of memory.
#pragma once

#include <string>
#include <string_view>

namespace flops::service {

// False: it did not arrive. A name that begins with @ is an abstract one.
[[nodiscard]] bool send_datagram(std::string_view socket_name, const std::string& message);

}  // namespace flops::service
