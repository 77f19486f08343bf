#include "memory.hpp"

#include <malloc.h>

namespace flops::agent {

void limit_allocator() {
  ::mallopt(M_ARENA_MAX, 1);
  // What a transfer frees it needs again at once: a page fault for every 4 KiB took a third of a round's time. It is
  // given back when the agent is idle.
  ::mallopt(M_TRIM_THRESHOLD, 8 * 1024 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
}

void give_back_memory() {
  ::malloc_trim(0);
}

}  // namespace flops::agent
