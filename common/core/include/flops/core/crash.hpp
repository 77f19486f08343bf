// What a program leaves in its log when it dies of a fault of its own.
#pragma once

namespace flops {

// From now on SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT write the stack of their thread to stderr, one frame a line
// as "file(+offset)" for addr2line(1), and then end the program as they would have. Built with AddressSanitizer or
// ThreadSanitizer, whose own reports say more, only SIGABRT does. Call once, at the start; any thread may crash.
void report_crashes();

}  // namespace flops
