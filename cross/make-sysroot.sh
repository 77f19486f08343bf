#!/usr/bin/env bash
# Makes what programs for aarch64 are built against, and run with under qemu: the arm64 packages of Debian 12, unpacked
# into a folder. Needs no root, and does nothing when the folder is there and right.
#
#   cross/make-sysroot.sh [options]
#     --output DIR     the folder (build/sysroot-arm64)
#     --sources FILE   apt sources to use (this machine's for Debian)
#     --lock           take the newest versions, and write them to cross/packages.lock
#
# cross/packages.lock has a line a package: SHA-256 and file name, with version and architecture. What is not exactly that
# is refused. Files that were fetched are kept in DIR.packages, and checked whenever they are unpacked.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# What is compiled and linked against; apt adds what these depend on. The same libraries as in scripts/setup.sh.
wanted=(libc6-dev libstdc++-12-dev libtorch-dev libopenblas0-pthread libboost1.81-dev libboost-json1.81-dev libmosquitto-dev
  libsqlite3-dev libzstd-dev libssl-dev zlib1g-dev libcli11-dev libtomlplusplus-dev libspdlog-dev libfmt-dev
  libseccomp-dev doctest-dev)
lock_file=$ROOT/cross/packages.lock
output=$ROOT/build/sysroot-arm64 sources='' lock=no

usage() {
  [ $# -eq 0 ] || say "error: $*"
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case "$1" in
    --output | --sources) [ $# -ge 2 ] || usage "$1 needs a value" ;;
  esac
  case "$1" in
    --output) output=$(realpath -m "$2"); shift ;;
    --sources) sources=$(realpath -m "$2"); shift ;;
    --lock) lock=yes ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done

packages=$output.packages # as they were fetched
stamp=$output/.lock       # of which lock file the folder was made

for tool in apt-get apt-config dpkg-deb sha256sum; do
  command -v "$tool" >/dev/null || die "$tool is missing: this needs Debian's package tools"
done

# --- fetching ---------------------------------------------------------------------------------------------------------

find_sources() {
  local file
  [ -z "$sources" ] || return 0
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ ! -s "$file" ] || { sources=$file; return 0; }
  done
  die "no apt sources found: name a file with --sources"
}

# An apt of its own: another architecture, nothing installed, and none of this machine's hooks and preferences; only its
# sources, keys and the way to the network.
private_apt() {
  local folder=$packages/apt
  find_sources
  mkdir -p "$folder"/{sources.d,state/lists/partial,cache/archives/partial}
  : >"$folder/state/status"
  # Where this machine restricts its sources to its own architecture, they are opened for the other.
  sed -e '/^Architectures:/d' -e 's/arch=[^] ]*//' "$sources" >"$folder/sources.d/debian.${sources##*.}"
  {
    apt-config dump | grep '^Acquire::' || true
    cat <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::State "$folder/state";
Dir::State::status "$folder/state/status";
Dir::Cache "$folder/cache";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$folder/sources.d";
Dir::Etc::preferencesparts "/dev/null";
END
  } >"$folder/apt.conf"
  export APT_CONFIG=$folder/apt.conf
  apt-get update -q >"$folder/log" 2>&1 || { tail -n 20 "$folder/log" >&2; die "the package lists could not be fetched"; }
}

write_lock() {
  private_apt
  apt-get install -q -y --download-only "${wanted[@]}" >"$packages/apt/log" 2>&1 ||
    { tail -n 20 "$packages/apt/log" >&2; die "the packages could not be fetched"; }
  rm -f "$packages"/*.deb
  mv "$packages"/apt/cache/archives/*.deb "$packages"
  (cd "$packages" && LC_ALL=C sha256sum -- *.deb) >"$lock_file"
  say "$(wc -l <"$lock_file") packages are in $lock_file"
}

# name_version_arch.deb as apt names it, with the colon of an epoch as %3a
pin_of() {
  local name=${1%%_*} version=${1#*_}
  version=${version%_*}
  printf '%s=%s\n' "$name" "${version//%3a/:}"
}

fetch() {
  local line file pins=()
  while read -r line; do
    file=${line#*  }
    [ -f "$packages/$file" ] || pins+=("$(pin_of "$file")")
  done <"$lock_file"
  [ "${#pins[@]}" -gt 0 ] || return 0
  say "Fetching ${#pins[@]} packages"
  private_apt
  (cd "$packages" && apt-get download -q "${pins[@]}") >"$packages/apt/log" 2>&1 || {
    tail -n 20 "$packages/apt/log" >&2
    die "a package could not be fetched; versions that Debian has replaced need a new lock: cross/make-sysroot.sh --lock"
  }
}

check_sums() {
  (cd "$packages" && sha256sum --check --quiet --strict "$lock_file") >&2 ||
    die "a package is not what $lock_file says: remove it from $packages to fetch it again"
}

# --- unpacking ----------------------------------------------------------------------------------------------------------

# What dpkg would remember, so that scripts/package.sh finds which package has a library.
record() { # root, package file
  local info=$1/var/lib/dpkg/info control=$1.control name arch prefix part
  name=$(dpkg-deb -f "$2" Package) arch=$(dpkg-deb -f "$2" Architecture)
  prefix=$name
  [ "$(dpkg-deb -f "$2" Multi-Arch)" != same ] || prefix=$name:$arch
  rm -rf "$control"
  dpkg-deb -e "$2" "$control"
  for part in symbols shlibs; do
    [ ! -f "$control/$part" ] || cp "$control/$part" "$info/$prefix.$part"
  done
  dpkg-deb --fsys-tarfile "$2" | tar -t | sed -e 's|^\.||' -e 's|\(.\)/$|\1|' -e 's|^/$|/.|' >"$info/$prefix.list"
  { sed '1a Status: install ok installed' "$control/control"; echo; } >>"$1/var/lib/dpkg/status"
  rm -rf "$control"
}

unpack() { # root
  local folder line file
  # Debian's files say /lib, and mean /usr/lib.
  mkdir -p "$1"/usr/{lib,bin,sbin} "$1/var/lib/dpkg/info"
  : >"$1/var/lib/dpkg/status"
  echo 1 >"$1/var/lib/dpkg/info/format" # the names of lists have the architecture
  for folder in lib bin sbin; do
    ln -s "usr/$folder" "$1/$folder"
  done
  while read -r line; do
    file=$packages/${line#*  }
    dpkg-deb --fsys-tarfile "$file" | tar -C "$1" -x --no-same-owner --keep-directory-symlink \
      --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
    record "$1" "$file"
  done <"$lock_file"
}

# Seen from outside, an absolute link would lead to this machine's files.
make_links_relative() { # root
  local link target
  while IFS= read -r link; do
    target=$(readlink "$link")
    ln -sfn "$(realpath -ms --relative-to="$(dirname "$link")" "$1$target")" "$link"
  done < <(find "$1" -type l -lname '/*')
}

# The links that installing OpenBLAS makes: it is the BLAS and LAPACK that LibTorch finds.
choose_blas() { # root
  local libraries=$1/usr/lib/aarch64-linux-gnu library
  for library in libblas.so.3 liblapack.so.3 libopenblas.so.0; do
    ln -s "openblas-pthread/$library" "$libraries/$library"
  done
}

mkdir -p "$packages"
[ "$lock" = no ] || write_lock
[ -s "$lock_file" ] || die "$lock_file is missing: make it with --lock"
if [ -f "$stamp" ] && cmp -s "$stamp" "$lock_file"; then
  exit 0
fi
fetch
check_sums
say "Unpacking $(wc -l <"$lock_file") packages into $output"
# Beside its place, so that one that is interrupted is not taken for whole.
rm -rf "$output" "$output.new"
mkdir -p "$output.new"
unpack "$output.new"
choose_blas "$output.new"
make_links_relative "$output.new"
cp "$lock_file" "$output.new/.lock"
mv "$output.new" "$output"
