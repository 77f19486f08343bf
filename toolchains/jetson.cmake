# NVIDIA Jetson Orin with JetPack 6, which is Ubuntu 22.04: made with Debian's compiler and sysroot, and what the system
# there has in other versions is built in. tests/cross checks that the rest fits (docs/cross.md).

set(FLOPS_TUNE cortex-a78ae CACHE STRING "")
set(FLOPS_STATIC_FOREIGN ON CACHE BOOL "")
include(${CMAKE_CURRENT_LIST_DIR}/aarch64.cmake)
