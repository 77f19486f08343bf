// Runs a program behind the system-call filters of its systemd unit, where no systemd does it:
//
//   unit_filter CALLS yes|no PROGRAM [ARGUMENT...]
//
// CALLS is a file with the names of the calls that are allowed, one a line (SystemCallFilter=); others fail with EPERM.
// yes: MemoryDenyWriteExecute=yes. Always: RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6, RestrictNamespaces=yes.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

namespace {

int refuse(scmp_filter_ctx filter, const char* call, unsigned argument, std::uint64_t bits) {
  return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), seccomp_syscall_resolve_name(call), 1,
                          SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, bits, bits));
}

int refuse_write_execute(scmp_filter_ctx filter) {
  int error = refuse(filter, "mmap", 2, PROT_WRITE | PROT_EXEC);
  for (const char* call : {"mprotect", "pkey_mprotect"}) {
    error = error != 0 ? error : refuse(filter, call, 2, PROT_EXEC);
  }
  return error != 0 ? error : refuse(filter, "shmat", 2, SHM_EXEC);
}

// What is refused whatever the list says.
int load_refusals(bool write_execute) {
  constexpr int last_family = 64;  // beyond those that Linux knows
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  int error = write_execute ? refuse_write_execute(filter) : 0;
  for (const int call : {SCMP_SYS(unshare), SCMP_SYS(setns)}) {
    error = error != 0 ? error : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
  }
  for (int family = 0; family < last_family && error == 0; ++family) {
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6) {
      error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
    }
  }
  error = error != 0 ? error : seccomp_load(filter);
  seccomp_release(filter);
  return error;
}

int load_allowed(const char* file) {
  std::ifstream names(file);
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  int error = 0;
  int known = 0;
  for (std::string name; error == 0 && std::getline(names, name);) {
    const int call = seccomp_syscall_resolve_name(name.c_str());
    if (call >= 0) {  // others are of other architectures
      error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
      ++known;
    }
  }
  error = error != 0 ? error : known == 0 ? -ENOENT : seccomp_load(filter);
  seccomp_release(filter);
  return error;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("unit_filter CALLS yes|no PROGRAM [ARGUMENT...]\n", stderr);
    return 64;
  }
  int error = load_refusals(std::strcmp(argv[2], "yes") == 0);
  error = error != 0 ? error : load_allowed(argv[1]);
  if (error != 0) {
    std::fprintf(stderr, "unit_filter: %s\n", std::strerror(-error));
    return 1;
  }
  ::execv(argv[3], argv + 3);
  std::fprintf(stderr, "unit_filter: %s: %s\n", argv[3], std::strerror(errno));
  return 127;
}
