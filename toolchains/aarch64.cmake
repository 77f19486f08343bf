# Programs for 64-bit ARM Linux, made on another machine with Debian's cross compiler and the sysroot of
# cross/make-sysroot.sh (docs/cross.md).

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

if(DEFINED ENV{FLOPS_SYSROOT})
  set(flops_default_sysroot $ENV{FLOPS_SYSROOT})
else()
  set(flops_default_sysroot ${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-arm64)
endif()
get_filename_component(flops_default_sysroot ${flops_default_sysroot} ABSOLUTE)
set(FLOPS_SYSROOT ${flops_default_sysroot} CACHE PATH "Root of the arm64 system that is linked against")
if(NOT EXISTS ${FLOPS_SYSROOT}/usr/lib/aarch64-linux-gnu)
  message(FATAL_ERROR "no arm64 system in ${FLOPS_SYSROOT}: run cross/make-sysroot.sh, or name another with FLOPS_SYSROOT")
endif()
set(CMAKE_SYSROOT ${FLOPS_SYSROOT})

# The baseline runs on every 64-bit ARM processor and is scheduled for the Raspberry Pi 4. The others use all that their
# processor has, and do not run on older ones.
set(FLOPS_TUNE cortex-a72 CACHE STRING "cortex-a72 (runs everywhere), cortex-a76 (Raspberry Pi 5) or cortex-a78ae (Jetson Orin)")
set_property(CACHE FLOPS_TUNE PROPERTY STRINGS cortex-a72 cortex-a76 cortex-a78ae)
if(FLOPS_TUNE STREQUAL "cortex-a72")
  set(CMAKE_CXX_FLAGS_INIT "-march=armv8-a -mtune=cortex-a72")
elseif(FLOPS_TUNE MATCHES "^cortex-a(76|78ae)$")
  set(CMAKE_CXX_FLAGS_INIT "-mcpu=${FLOPS_TUNE}")
else()
  message(FATAL_ERROR "FLOPS_TUNE: '${FLOPS_TUNE}' is none of cortex-a72, cortex-a76, cortex-a78ae")
endif()

# Programs are run here, everything else is the other machine's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# CMake's own modules ask pkg-config where libraries are.
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${FLOPS_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${FLOPS_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${FLOPS_SYSROOT}/usr/share/pkgconfig)

# LibTorch's libraries need some hundred others, which the linker need not look for.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--allow-shlib-undefined")

find_program(FLOPS_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(FLOPS_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${FLOPS_QEMU} -L ${FLOPS_SYSROOT})
endif()

# The small programs with which CMake tries the compiler get these too.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FLOPS_SYSROOT FLOPS_TUNE)
