#!/usr/bin/env bash
# Installs the Debian packages that are missing, and nothing when none is.
#
#   scripts/setup.sh [--build-only]   --build-only: without what only the tests and scripts/check need
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# package: what it is for
build_packages='
g++: compiler (C++23)
cmake: build system
ninja-build: build system
ccache: fast second builds
pkg-config: finds libraries
libtorch-dev: LibTorch, training on devices
libopenblas0-pthread: fast linear algebra for LibTorch (three times the reference BLAS)
libboost1.81-dev: Asio and Beast
libboost-json1.81-dev: JSON
libmosquitto-dev: MQTT client
libsqlite3-dev: SQLite
libzstd-dev: compression of updates
libssl-dev: TLS and certificates
zlib1g-dev: reads compressed data sets
libcli11-dev: command lines
libtomlplusplus-dev: configuration files
libspdlog-dev: logging
libfmt-dev: text formatting
libseccomp-dev: sandbox of the trainer
doctest-dev: unit tests
mosquitto: MQTT broker
dataset-fashion-mnist: data of the quick start
jq: JSON in scripts
'
check_packages='
git: repositories with projects in the tests
mosquitto-clients: MQTT tools for the tests
sqlite3: looks into databases in the tests
iproute2: cuts links in the tests
iptables: drops packets in the tests
libfaketime: wrong clocks in the tests
e2fsprogs: disks that turn read-only in the tests
debhelper: Debian packages, for scripts/package.sh
lintian: checks Debian packages, for scripts/check
systemd: checks units, for scripts/check, and says what their filters let through, for the tests
mmdebstrap: a fresh Debian system to install the packages in, for the tests
skopeo: checks container images in the tests
openssl: looks into certificates in the tests
man-db: reads the man pages in the tests
zsh: completes in the tests
fish: completes in the tests
clang-format-19: formatting, for scripts/check
clang-tidy-19: static analysis, for scripts/check
shellcheck: static analysis of scripts, for scripts/check
clang-19: compiler of the fuzz targets
libclang-rt-19-dev: libFuzzer and sanitizers for them
'

wanted=$build_packages$check_packages
case "${1:-}" in
  "") ;;
  --build-only) wanted=$build_packages ;;
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  *) say "unknown option '$1': scripts/setup.sh [--build-only]"; exit 2 ;;
esac

command -v dpkg-query >/dev/null || die "this script knows Debian and its derivatives; install by hand:$(printf '\n%s' "$wanted")"

mapfile -t names < <(sed -n 's/^\([^:]*\): .*/\1/p' <<<"$wanted")
installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${names[@]}" 2>/dev/null | sed -n 's/ installed$//p' || true)
missing=()
for name in "${names[@]}"; do
  grep -qxF -- "$name" <<<"$installed" || missing+=("$name")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

say "Installing ${#missing[@]} Debian packages:"
for name in "${missing[@]}"; do
  say "  $(grep -F -- "$name: " <<<"$wanted" | head -n 1)"
done
as_root apt-get update -q
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
  die "apt-get could not install what is missing; the project is built on Debian 12 (bookworm)"
