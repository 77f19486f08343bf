# shellcheck shell=bash
# Shared by the scripts beside it: sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT
# Mosquitto lives in sbin, which is not in every user's PATH.
export PATH="$PATH:/usr/sbin:/sbin"
# Clones in different folders share compiled files.
export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$ROOT}" CCACHE_NOHASHDIR=1

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "not root and no sudo: run as root: $*"
  fi
}

# Compilers at once: one a core, but each may need 1.5 GiB (LibTorch's headers with sanitizers).
build_jobs() {
  local cores memory_kb by_memory
  cores=$(nproc)
  memory_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  by_memory=$((memory_kb / 1572864))
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# configure_and_build PRESET [TARGET...]
configure_and_build() {
  local preset=$1
  shift
  mkdir -p "$ROOT/build"
  (cd "$ROOT" && cmake --preset "$preset" >"$ROOT/build/configure-$preset.log" 2>&1) ||
    { tail -n 30 "$ROOT/build/configure-$preset.log" >&2; die "configuring the preset '$preset' failed"; }
  (cd "$ROOT" && cmake --build --preset "$preset" -j "$(build_jobs)" ${1:+--target "$@"}) ||
    die "building the preset '$preset' failed"
}
