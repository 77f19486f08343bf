#!/usr/bin/env bash
# How fast the simulator is, and what idle learners cost: rounds a second and peak memory with ten learners a round out
# of 100, 1,000 and 10,000, and rounds a second with one thread and with all.
#
#   bench/sim/scaling.sh DATA [ROUNDS]     DATA: folder made by bench/papers/data.sh; ROUNDS: 20
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
if [ $# -lt 1 ] || [ ! -d "$1/mnist" ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
fi
data=$(cd "$1" && pwd)
rounds=${2:-20}
configure_and_build release flops-sim >&2
result=$(mktemp)
trap 'rm -f "$result"' EXIT
cp "$here/../papers/projects/mnist-2nn.toml" "$data/"

# measure LEARNERS THREADS: the same work a round whoever does it
measure() {
  local fraction
  fraction=$(awk -v n="$1" 'BEGIN {print 10 / n}')
  "$ROOT/build/release/bin/flops-sim" run "$data/mnist-2nn.toml" --quiet --threads "$2" --json "$result" \
    --set data.learners="$1" --set run.fraction="$fraction" --set training.steps=60 --set run.rounds="$rounds" \
    --set evaluation.target_accuracy=0 --set evaluation.every=100000 >&2
  jq -r --arg learners "$1" --arg threads "$2" \
    '"\($learners) learners, \($threads) threads: \((.rounds | length) / .seconds * 100 | round / 100) rounds/s, peak \(.peak_rss_kb / 1024 | round) MiB"' "$result"
}
all=$(nproc)
measure 100 1
for learners in 100 1000 10000; do measure "$learners" "$all"; done
