#!/usr/bin/env bash
# What a round costs beside the training: seconds of the round minus the slowest device's training, with warm trainers
# (the first round, in which they load LibTorch, is left out), and the memory of each program.
#
#   bench/round/round_overhead.sh [devices (2)] [rounds (6)] [model (cnn-mcmahan)]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
devices=${1:-2} rounds=${2:-6} model=${3:-cnn-mcmahan}

json=$(mktemp)
trap 'rm -f "$json"' EXIT
"$here/../../scripts/quickstart.sh" --no-install --no-evaluate --devices "$devices" --rounds "$rounds" --model "$model" \
  --json "$json" >&2

jq -r --arg model "$model" --argjson devices "$devices" '
  def median: sort | .[length / 2 | floor];
  [.rounds[] | select(.round > 1)] as $warm |
  (4 * .parameters * $devices) as $raw |
  "model \($model), \(.parameters) parameters, \($devices) devices, \($warm | length) warm rounds",
  "overhead of a round: median \([$warm[] | .seconds - .train_seconds_max] | median) s, largest \([$warm[] | .seconds - .train_seconds_max] | max) s",
  "training of the slowest device: median \([$warm[] | .train_seconds_max] | median) s",
  "bytes up / raw: \([$warm[] | .bytes_up / $raw] | median), bytes down / raw: \([$warm[] | .bytes_down / $raw] | median)",
  (.programs | to_entries[] | "\(.key): idle \(.value.rss_idle_kb) KiB, peak \(.value.rss_peak_kb) KiB")' "$json"
