#!/usr/bin/env bash
# Whether programs made here start on JetPack 6 (Ubuntu 22.04) too, and so on every newer system: no symbol of a library
# is newer than what is there, and no shared library is wanted that has another name there.
#
#   check_symbols.sh [--versions] OBJDUMP PROGRAM...     --versions: whatever the names of the libraries
set -euo pipefail

libraries=yes
[ "${1:-}" != --versions ] || { libraries=no; shift; }
objdump=${1:?usage: check_symbols.sh [--versions] OBJDUMP PROGRAM...}
shift
[ $# -gt 0 ] || { echo "no programs to check" >&2; exit 2; }

# The newest version of each name that is there.
declare -A newest=([GLIBC]=2.35 [GLIBCXX]=3.4.30 [CXXABI]=1.3.13 [GCC]=12.0.0 [OPENSSL]=3.0.2 [ZLIB]=1.2.11 [MOSQ]=1.7
  [LIBSYSTEMD]=249)
# Of LibTorch, which comes from NVIDIA, any version.
shared='^(ld-linux-aarch64\.so\.1|libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|libstdc\+\+\.so\.6|libssl\.so\.3|libcrypto\.so\.3'
shared+='|libsqlite3\.so\.0|libmosquitto\.so\.1|libzstd\.so\.1|libz\.so\.1|libseccomp\.so\.2'
shared+='|lib(torch|torch_cpu|c10)\.so[.0-9]*)$'

failed=no
wrong() {
  echo "$*" >&2
  failed=yes
}
older_or_same() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$2" ]; }

check_versions() { # program; of each version one symbol is looked at
  local name version symbol family found=0
  local -A seen=()
  while read -r version symbol; do
    found=$((found + 1))
    family=${version%%_*} version=${version#*_}
    if [ -z "${newest[$family]:-}" ]; then
      wrong "$1: $symbol is of ${family}_$version, and what JetPack 6 has of that is not known"
    elif ! older_or_same "$version" "${newest[$family]}"; then
      wrong "$1: $symbol is of ${family}_$version, JetPack 6 has ${newest[$family]}"
    fi
    older_or_same "$version" "${seen[$family]:-0}" || seen[$family]=$version
  done < <(sed -n 's/.*\*UND\*.*(\([A-Z][A-Z0-9a-z]*_[0-9.]*[a-z]*\)) *\([^ ]*\)$/\1 \2/p' "$work/symbols" | sort -u -k 1,1)
  # A program without any was not read.
  [ "$found" -gt 0 ] || wrong "$1: no symbols found"
  for name in "${!seen[@]}"; do printf '%s_%s ' "$name" "${seen[$name]}"; done | sort
}

check_libraries() { # program
  local library
  while read -r library; do
    [[ $library =~ $shared ]] || wrong "$1: $library is not on JetPack 6"
  done < <(sed -n 's/^ *NEEDED *//p' "$work/headers")
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in "$@"; do
  "$objdump" -T "$program" >"$work/symbols"
  "$objdump" -p "$program" >"$work/headers"
  check_versions "$program" >"$work/versions"
  echo "$(basename "$program"): $(cat "$work/versions")"
  [ "$libraries" = no ] || check_libraries "$program"
done
[ "$failed" = no ]
