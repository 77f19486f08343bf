#!/usr/bin/env bash
# check_symbols.sh finds what it is there to find. Its objdump is a script that prints files.
set -euo pipefail

check=$(dirname "${BASH_SOURCE[0]}")/check_symbols.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() {
  echo "check_symbols: $*" >&2
  exit 1
}
cat >"$folder/objdump" <<'END'
#!/bin/sh
cat "$2$1"
END
chmod +x "$folder/objdump"

program() { # name, symbol version, library
  printf '0000000000000000      DF *UND*\t0000000000000000 (%s) function\n0000000000000000  w   D  *UND*\t0000000000000000  Base        weak\n' \
    "$2" >"$folder/$1-T"
  printf 'Dynamic Section:\n  NEEDED               %s\n' "$3" >"$folder/$1-p"
}
accepted() { # name, option
  bash "$check" ${2:+"$2"} "$folder/objdump" "$folder/$1" >/dev/null 2>"$folder/said" ||
    fail "$1 refused: $(cat "$folder/said")"
}
refused() { # name, what is said
  ! bash "$check" "$folder/objdump" "$folder/$1" >/dev/null 2>"$folder/said" || fail "$1 accepted"
  grep -qF -- "$2" "$folder/said" || fail "$1: '$2' was not said, but: $(cat "$folder/said")"
}

program old GLIBC_2.9 libc.so.6
accepted old
program limit GLIBC_2.35 libtorch_cpu.so.1.13
accepted limit
program new GLIBC_2.36 libc.so.6
refused new 'function is of GLIBC_2.36, JetPack 6 has 2.35'
program library GLIBCXX_3.4.31 libstdc++.so.6
refused library 'GLIBCXX_3.4.31'
program runtime CXXABI_1.3.14 libstdc++.so.6
refused runtime 'CXXABI_1.3.14'
program unknown NEWS_1 libc.so.6
refused unknown 'is not known'
program format GLIBC_2.17 libfmt.so.9
refused format 'libfmt.so.9 is not on JetPack 6'
accepted format --versions
: >"$folder/empty-T"
: >"$folder/empty-p"
refused empty 'no symbols found'
echo "check_symbols: finds what is wrong"
