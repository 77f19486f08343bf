#!/usr/bin/env bash
# Kills, cuts, fills and confuses a fleet of the real programs, and checks that nothing is lost: the run goes on, every
# finished piece of work counts exactly once, and the model is the one of an undisturbed run, to the bit.
#
#   scripts/faults.sh [options]
#     --seed S        of everything random (from the time)
#     --minutes M     repeat all rows with other seeds for so long (every row once)
#     --only NAME     rows whose name contains NAME
#     --short         only the rows that scripts/test.sh runs
#     --list          say which rows there are
#     --jobs N        rows at once (2)
#     --dir D         where the folder of this run is made (/var/tmp)
#     --no-install    do not install missing packages
#     --no-build      use the programs as they are
#
# As root each row gets namespaces of its own for mounts, network and processes; otherwise the rows that need them are
# skipped. The folder of a run in which a row failed is kept.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seed=$(date +%s) base=/var/tmp install=yes build=yes list=no
options=()
usage() {
  say "error: $*"
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case "$1" in
    --seed | --minutes | --only | --jobs | --dir) [ $# -ge 2 ] || usage "$1 needs a value" ;;
  esac
  case "$1" in
    --seed) [[ $2 =~ ^[0-9]{1,18}$ ]] || usage "--seed: '$2' is not a number"; seed=$2; shift ;;
    --minutes | --jobs) [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || usage "$1: '$2' is not a positive number"; options+=("$1" "$2"); shift ;;
    --only) options+=("$1" "$2"); shift ;;
    --dir) base=$2; shift ;;
    --short) options+=("$1") ;;
    --list) list=yes ;;
    --no-install) install=no ;;
    --no-build) build=no ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done

[ "$install" = no ] || "$ROOT/scripts/setup.sh"
if [ "$build" = yes ]; then
  say "Building (release)..."
  configure_and_build release flops-coordinator flops-agent flops-trainer flops-faults >&2
fi
bin=$ROOT/build/release/bin
driver=$bin/tests/flops-faults
[ -x "$driver" ] || die "$driver is missing: leave out --no-build"
[ "$list" = no ] || exec "$driver" --list --folder . --programs "$bin"

mkdir -p "$base"
folder=$(cd "$base" && mktemp -d "$PWD/flops-faults-XXXXXX")
echo "Seed: $seed"
# The driver ends everything it started when it ends, so there is nothing else to clean up.
if "$driver" --folder "$folder" --programs "$bin" --seed "$seed" "${options[@]}"; then
  rm -rf "$folder"
else
  status=$?
  echo "Not everything held; seed $seed, logs: $folder"
  exit "$status"
fi
