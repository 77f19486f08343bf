#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "flops/trainer/job.hpp"

using namespace flops;

namespace {

struct Pair {
  Fd a;
  Fd b;
  explicit Pair(int flags = 0) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0, ends) == 0);
    a = Fd(ends[0]);
    b = Fd(ends[1]);
  }
};

int open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  REQUIRE(folder != nullptr);
  int count = 0;
  while (::readdir(folder) != nullptr) {
    ++count;
  }
  ::closedir(folder);
  return count;
}

// Past send_packet's own checks, as a hostile peer does.
void send_raw(int socket, const std::string& text, int descriptors) {
  std::string bytes = text;
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(16 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptors > 0) {
    const std::size_t payload = static_cast<std::size_t>(descriptors) * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(payload);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(payload);
    for (int i = 0; i < descriptors; ++i) {
      const int fd = STDERR_FILENO;
      std::memcpy(CMSG_DATA(header) + static_cast<std::size_t>(i) * sizeof(int), &fd, sizeof(int));
    }
  }
  REQUIRE(::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0);
}

}  // namespace

TEST_CASE("packet: text and descriptors arrive together") {
  const Pair pair;
  const auto memory = trainer::make_memfd("test", 4096);
  REQUIRE(memory);
  REQUIRE(::pwrite(memory->get(), "hello", 5, 0) == 5);
  REQUIRE(trainer::send_packet(pair.a.get(), "first", {memory->get(), STDERR_FILENO}));
  REQUIRE(trainer::send_packet(pair.a.get(), std::string(trainer::max_packet, 'x')));

  const auto first = trainer::receive_packet(pair.b.get());
  REQUIRE(first);
  CHECK(first->text == "first");
  REQUIRE(first->descriptors.size() == 2);
  char content[5];
  REQUIRE(::pread(first->descriptors[0].get(), content, 5, 0) == 5);
  CHECK(std::string(content, 5) == "hello");
  CHECK((::fcntl(first->descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0);

  const auto second = trainer::receive_packet(pair.b.get());
  REQUIRE(second);
  CHECK(second->text.size() == trainer::max_packet);
  CHECK(second->descriptors.empty());
}

TEST_CASE("packet: an empty socket that does not block is transient, a closed one cancelled") {
  Pair pair(SOCK_NONBLOCK);
  const auto none = trainer::receive_packet(pair.a.get());
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == ErrorKind::transient);

  pair.b.reset();
  const auto closed = trainer::receive_packet(pair.a.get());
  REQUIRE_FALSE(closed);
  CHECK(closed.error().kind == ErrorKind::cancelled);
  const auto sent = trainer::send_packet(pair.a.get(), "anyone?");
  REQUIRE_FALSE(sent);
  CHECK(sent.error().kind == ErrorKind::cancelled);
}

TEST_CASE("packet: a full socket that does not block is transient") {
  const Pair pair(SOCK_NONBLOCK);
  Result<> sent;
  for (int n = 0; n < 10'000 && sent; ++n) {
    sent = trainer::send_packet(pair.a.get(), std::string(1024, 'x'));
  }
  REQUIRE_FALSE(sent);
  CHECK(sent.error().kind == ErrorKind::transient);
}

TEST_CASE("packet: one that breaks the limits is not sent") {
  const Pair pair;
  CHECK_FALSE(trainer::send_packet(pair.a.get(), ""));
  CHECK_FALSE(trainer::send_packet(pair.a.get(), std::string(trainer::max_packet + 1, 'x')));
  CHECK_FALSE(trainer::send_packet(pair.a.get(), "x", {0, 1, 2, 0, 1}));
  const auto bad = trainer::send_packet(pair.a.get(), "x", {-1});
  REQUIRE_FALSE(bad);
  CHECK(bad.error().kind == ErrorKind::permanent);
}

TEST_CASE("packet: a hostile one is refused, no descriptor leaks, and the next one is read") {
  const Pair pair;
  const int before = open_descriptors();
  SUBCASE("too large") {
    send_raw(pair.a.get(), std::string(trainer::max_packet + 1, 'x'), 0);
  }
  SUBCASE("too large with descriptors") {
    send_raw(pair.a.get(), std::string(trainer::max_packet + 1, 'x'), 2);
  }
  SUBCASE("five descriptors") {
    send_raw(pair.a.get(), "x", 5);
  }
  SUBCASE("sixteen descriptors") {
    send_raw(pair.a.get(), "x", 16);
  }
  const auto refused = trainer::receive_packet(pair.b.get());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::permanent);
  CHECK(open_descriptors() == before);
  send_raw(pair.a.get(), "next", 0);
  const auto next = trainer::receive_packet(pair.b.get());
  REQUIRE(next);
  CHECK(next->text == "next");
}

TEST_CASE("memfd: it is zeroed and its size is sealed, unless it is for a trainer to size") {
  const auto sized = trainer::make_memfd("test", 100);
  REQUIRE(sized);
  struct stat info{};
  REQUIRE(::fstat(sized->get(), &info) == 0);
  CHECK(info.st_size == 100);
  CHECK(::ftruncate(sized->get(), 50) != 0);
  CHECK(::ftruncate(sized->get(), 200) != 0);

  const auto open = trainer::make_memfd("test", 0);
  REQUIRE(open);
  CHECK(::ftruncate(open->get(), 200) == 0);
  CHECK(::fcntl(open->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
  CHECK(::ftruncate(open->get(), 100) != 0);
}

TEST_CASE("memfd: an impossible size is refused") {
  const auto memory = trainer::make_memfd("test", UINT64_MAX);
  REQUIRE_FALSE(memory);
  CHECK(memory.error().what.find("18446744073709551615") != std::string::npos);
}
