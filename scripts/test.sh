#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test:
#   dev      everything, with AddressSanitizer and UBSan
#   tsan     everything that does not link LibTorch and has more than one thread, with ThreadSanitizer
#   release  the end-to-end tests, the short form of scripts/faults.sh and what depends on real memory limits, with the
#            programs as they are shipped
#
#   scripts/test.sh [dev|tsan|release]...   only these
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

presets=("$@")
[ "${#presets[@]}" -gt 0 ] || presets=(dev tsan release)
for preset in "${presets[@]}"; do
  case "$preset" in
    dev | tsan | release) ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) say "unknown preset '$preset': scripts/test.sh [dev|tsan|release]..."; exit 2 ;;
  esac
done

"$ROOT/scripts/setup.sh"

# ThreadSanitizer of g++ 12 cannot place its memory when the kernel randomises addresses by 32 bits.
fixed_addresses=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
  fixed_addresses=(setarch "$(uname -m)" -R)
fi

# One more than there are cores: they wait more than they compute.
run_tests() { # preset, then arguments of ctest
  local preset=$1
  shift
  (cd "$ROOT" && "${fixed_addresses[@]}" ctest --preset "$preset" -j "$(($(nproc) + 1))" --no-tests=error "$@") ||
    die "tests of the preset '$preset' failed; one alone: ctest --preset $preset -R NAME"
}

for preset in "${presets[@]}"; do
  begin=$SECONDS
  say "== $preset: build"
  case "$preset" in
    release) configure_and_build "$preset" flops-coordinator flops-agent flops-trainer flops-site flops-sim flopsctl flops-faults test_agent \
      test_process_trainer ;;
    *) configure_and_build "$preset" ;;
  esac
  say "== $preset: tests (built in $((SECONDS - begin)) s)"
  case "$preset" in
    release) run_tests "$preset" -R '^(e2e_.*|fault_.*|test_agent|test_process_trainer)$' ;;
    *) run_tests "$preset" ;;
  esac
  say "== $preset: passed after $((SECONDS - begin)) s"
done
