// Keeping the daemon small between tasks (glibc).
#pragma once

namespace flops::agent {

// Call before any thread starts: one arena, large blocks given back at once.
void limit_allocator();
// After something large: returns free pages to the system.
void give_back_memory();

}  // namespace flops::agent
