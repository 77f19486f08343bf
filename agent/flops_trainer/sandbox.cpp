#include "sandbox.hpp"

#include <cerrno>
#include <cstring>
#include <memory>

#include <sys/prctl.h>
#include <sys/resource.h>

#include <seccomp.h>

namespace flops {
namespace {

// By name, resolved at run time: some do not exist on every architecture or in every libseccomp.
constexpr const char* denied_calls[] = {
    // network; the socket to the agent uses sendmsg and recvmsg only
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "sendmmsg", "socketcall",
    // a second way to do all of these
    "io_uring_setup", "io_uring_enter", "io_uring_register",
    // other programs and processes
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    "personality", "userfaultfd",
    // the system
    "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    "pivot_root", "chroot", "swapon", "swapoff", "unshare", "setns", "reboot", "kexec_load", "kexec_file_load",
    "init_module", "finit_module", "delete_module", "bpf", "perf_event_open", "acct", "quotactl", "syslog",
    "open_by_handle_at", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
    "iopl", "ioperm", "add_key", "request_key", "keyctl"};

Result<> load_filter() {
  const std::unique_ptr<void, decltype(&::seccomp_release)> filter(::seccomp_init(SCMP_ACT_ALLOW), &::seccomp_release);
  if (!filter) {
    return fail(ErrorKind::resource, "seccomp: no memory");
  }
  // Libraries may have started threads before main.
  int error = ::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  for (const char* name : denied_calls) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (error == 0 && number != __NR_SCMP_ERROR) {
      error = ::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), number, 0);
    }
  }
  if (error == 0) {
    error = ::seccomp_load(filter.get());
  }
  if (error != 0) {
    return fail(ErrorKind::denied, "seccomp: {}", std::strerror(-error));
  }
  return {};
}

}  // namespace

Result<> enter_sandbox() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) {
    return fail(ErrorKind::denied, "no_new_privs: {}", std::strerror(errno));
  }
  const rlimit none{0, 0};  // a core dump would put training data on disk
  if (::setrlimit(RLIMIT_CORE, &none) != 0) {
    return fail(ErrorKind::denied, "RLIMIT_CORE: {}", std::strerror(errno));
  }
  return load_filter();
}

}  // namespace flops
