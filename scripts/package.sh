#!/usr/bin/env bash
# Builds the Debian packages flops-agent, flops-trainer, flops-coordinator and flopsctl: the same bytes from the same
# sources, wherever and whenever it runs.
#
#   scripts/package.sh [amd64|arm64] [options]      (this machine's architecture)
#     --output DIR       where the packages are written (build/packages)
#     --version V        of the packages (the project's)
#     --from DIR         of programs that are built already, in this build folder
#     --configuration DIR  with agent.toml and coordinator.toml to be shipped (packaging/conf)
#     --verify           packs twice and compares
#
# arm64 on another machine needs a root of that architecture in $FLOPS_SYSROOT (build/sysroot-arm64).
# The time in the packages is $SOURCE_DATE_EPOCH, else that of the last commit.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

native=$(dpkg --print-architecture)
arch=$native
output=$ROOT/build/packages
version=$(sed -n 's/^project(flops_edge VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")
from='' configuration=$ROOT/packaging/conf verify=no
programs=(flops-agent flops-coordinator flopsctl) # that people call: with man page and completions

usage() {
  [ $# -eq 0 ] || say "error: $*"
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case "$1" in
    --output | --version | --from | --configuration) [ $# -ge 2 ] || usage "$1 needs a value" ;;
  esac
  case "$1" in
    amd64 | arm64) arch=$1 ;;
    --output) mkdir -p "$2"; output=$(cd "$2" && pwd); shift ;;
    --version) version=$2; shift ;;
    --from) from=$(cd "$2" && pwd); shift ;;
    --configuration) configuration=$(cd "$2" && pwd); shift ;;
    --verify) verify=yes ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done
[[ $version =~ ^[0-9][A-Za-z0-9.+~]*$ ]] || usage "--version: '$version' is not the version of a Debian package"
command -v dh >/dev/null || die "debhelper is missing: run scripts/setup.sh"
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct) ||
    die "not a git repository: set SOURCE_DATE_EPOCH to the time that the packages are to have"
fi
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC

sysroot=''
if [ "$arch" != "$native" ]; then
  sysroot=${FLOPS_SYSROOT:-$ROOT/build/sysroot-$arch}
  [ -f "$ROOT/toolchains/aarch64.cmake" ] || die "toolchains/aarch64.cmake is missing: packages for $arch can only be built on $arch"
  command -v aarch64-linux-gnu-g++ >/dev/null || die "the compiler for $arch is missing: apt-get install g++-aarch64-linux-gnu (docs/cross.md)"
  [ -d "$sysroot/usr/lib/aarch64-linux-gnu" ] || die "there is no $arch root in $sysroot: run cross/make-sysroot.sh, or name one in FLOPS_SYSROOT"
  [ -s "$sysroot/var/lib/dpkg/status" ] || die "$sysroot has no package database: dependencies cannot be found there"
  export FLOPS_SYSROOT=$sysroot
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/flops-packages-XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -n "$sysroot" ]; then
  # A root that was only unpacked does not say that files in its database are named after architectures.
  cp -R "$sysroot/var/lib/dpkg" "$work/database"
  echo 1 >"$work/database/info/format"
  export FLOPS_DATABASE=$work/database
fi

# --- programs -----------------------------------------------------------------------------------------------------------
build=$from pages_from=$from
if [ -z "$from" ]; then
  say "Building the programs for $arch..."
  configure_and_build "package-$arch" flops-agent flops-trainer flops-site flops-coordinator flopsctl >&2
  build=$ROOT/build/package-$arch pages_from=$ROOT/build/package-$arch
fi
if [ -n "$sysroot" ]; then
  # Programs that run here describe themselves; those of the other architecture have the same command lines.
  configure_and_build "package-$native" "${programs[@]}" >&2
  pages_from=$ROOT/build/package-$native
fi

make_pages() { # folder
  local program
  mkdir -p "$1"/{bash,zsh,fish}
  for program in "${programs[@]}"; do
    "$pages_from/bin/$program" man-page >"$1/$program.1"
    "$pages_from/bin/$program" completion bash >"$1/bash/$program"
    "$pages_from/bin/$program" completion zsh >"$1/zsh/_$program"
    "$pages_from/bin/$program" completion fish >"$1/fish/$program.fish"
  done
}

# --- packages -----------------------------------------------------------------------------------------------------------
# What debhelper works in: debian/ and the files that it installs.
make_tree() { # folder
  local unit
  mkdir -p "$1"
  cp -R "$ROOT/packaging/debian" "$ROOT/systemd" "$ROOT/CHANGELOG.md" "$1"
  cp -R "$configuration" "$1/conf"
  for unit in "$1"/systemd/*.{service,path,sysusers,tmpfiles}; do
    mv "$unit" "$1/debian"
  done
  make_pages "$1/pages"
  cat >"$1/debian/changelog" <<END
flops-edge ($version-1) bookworm; urgency=medium

  * Version $version; what is new in it is in the changelog beside this one.

 -- FLOps Edge developers <developers@flops-edge.example>  $(date -R -d "@$SOURCE_DATE_EPOCH")
END
}

pack() { # folder: leaves the packages in it
  local tree=$1/flops-edge-$version
  rm -rf "$1"
  make_tree "$tree"
  # Hardening flags and the like are cmake's business; -d: what builds the programs is not asked for here.
  (cd "$tree" && FLOPS_BUILD=$build dpkg-buildpackage --build=binary --host-arch "$arch" --no-sign --no-check-builddeps) \
    >"$1/log" 2>&1 || { tail -n 30 "$1/log" >&2; die "packing failed; all of it: $1/log"; }
}

pack "$work/first"
if [ "$verify" = yes ]; then
  pack "$work/second"
  for package in "$work"/first/*.deb; do
    cmp "$package" "$work/second/$(basename "$package")" || die "packed twice, the bytes differ"
  done
  say "packed twice: the same bytes"
fi
mkdir -p "$output"
rm -f "$output"/*_"$version"-*_"$arch".{deb,changes,buildinfo}
cp "$work"/first/*.{deb,changes,buildinfo} "$output"
for package in "$output"/*_"$version"-1_"$arch".deb; do
  printf '%s %s %s\n' "$(sha256sum "$package" | cut -c1-16)" "$(dpkg-deb -f "$package" Installed-Size)KiB" "$package"
done
