# What a preset may switch, and the flags that follow from it.

option(FLOPS_TESTS "Build the tests" ON)
option(FLOPS_BENCH "Build the benchmarks" OFF)
option(FLOPS_TORCH "Build what links LibTorch (models, flops-trainer)" ON)
option(FLOPS_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
option(FLOPS_WERROR "Treat warnings as errors" OFF)
option(FLOPS_HARDENING "Hardening flags for programs that face the network" OFF)
option(FLOPS_PACKAGE "As packages are built: small, and the same bytes wherever that is done" OFF)
option(FLOPS_STATIC_FOREIGN "Build in the libraries that older systems have in other versions (Boost, fmt, spdlog, toml++)" OFF)
set(FLOPS_TORCH_DIR "" CACHE PATH "Folder with the include/ and lib/ of a LibTorch; empty: the system's")
set(FLOPS_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

include(GNUInstallDirs)

find_program(FLOPS_CCACHE ccache)
if(FLOPS_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FLOPS_CCACHE})
endif()

add_library(flops_flags INTERFACE)
target_compile_options(flops_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Wold-style-cast -Woverloaded-virtual -Wimplicit-fallthrough -Wcast-qual
  # g++ 12 reports members of std::variant and std::expected alternatives that are not active.
  -Wno-maybe-uninitialized)
if(FLOPS_WERROR)
  target_compile_options(flops_flags INTERFACE -Werror)
endif()
if(FLOPS_SANITIZE)
  add_compile_options(-fsanitize=${FLOPS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FLOPS_SANITIZE})
  # GCC reports false positives from libstdc++ and fmt once sanitizers change inlining.
  add_compile_options(-Wno-stringop-overflow -Wno-array-bounds)
  if(FLOPS_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio's fences, which ThreadSanitizer does not model.
    add_compile_options(-Wno-tsan)
  endif()
endif()
if(FLOPS_PACKAGE)
  # The third is what ccache makes of the second.
  file(RELATIVE_PATH up ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
  string(REGEX REPLACE "/$" "" up ${up})
  add_compile_options(-ffile-prefix-map=${CMAKE_BINARY_DIR}=build -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.
                      -ffile-prefix-map=${up}=.)
  set(CMAKE_SKIP_RPATH ON)
  add_compile_options(-ffunction-sections -fdata-sections)
  add_link_options(-Wl,--gc-sections)
endif()
if(FLOPS_HARDENING)
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2
                      -D_GLIBCXX_ASSERTIONS)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    add_compile_options(-fcf-protection)
  elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    include(CheckCXXCompilerFlag)
    check_cxx_compiler_flag(-mbranch-protection=standard FLOPS_BRANCH_PROTECTION)
    if(FLOPS_BRANCH_PROTECTION)
      add_compile_options(-mbranch-protection=standard)
    endif()
  endif()
  add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
endif()
