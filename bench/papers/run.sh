#!/usr/bin/env bash
# Repeats published experiments in the simulator: for each a CSV with a line a seed, the curves, and a plot.
#
#   bench/papers/run.sh DATA [EXPERIMENT...]
#     DATA            folder made by bench/papers/data.sh
#     EXPERIMENT      2nn-iid-e1, 2nn-iid-e10, 2nn-shards-e1, cnn-iid-e5, stragglers, heart (all of them)
#
# Environment: SEEDS (1 2 3), RESULTS (bench/papers/results). README.md beside says what is expected.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"

if [ $# -lt 1 ] || [ ! -d "$1" ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
fi
data=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- 2nn-iid-e1 2nn-iid-e10 2nn-shards-e1 cnn-iid-e5 stragglers heart
results=${RESULTS:-$here/results}
read -r -a seeds <<<"${SEEDS:-1 2 3}"
mkdir -p "$results/curves"
simulator=$ROOT/build/release/bin/flops-sim
configure_and_build release flops-sim >&2
cp "$here"/projects/*.toml "$data/"  # paths in a project are relative to it

# curve NAME PROJECT SEED KEY=VALUE... : the rounds of one run, in curves/NAME-SEED.csv
curve() {
  local name=$1 project=$2 seed=$3 settings=()
  shift 3
  local pair
  for pair in "$@"; do settings+=(--set "$pair"); done
  "$simulator" run "$data/$project.toml" --seed "$seed" --quiet "${settings[@]}" --csv "$results/curves/$name-$seed.csv" >&2
}
# Accuracy on the test split, by round.
accuracies() { awk -F, 'NR > 1 && $1 == "" && $11 != "" {print $2, $11}' "$1"; }
median() { sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

# to_target NAME PROJECT TARGET KEY=VALUE... : rounds until the test accuracy is TARGET, for each seed and their median
to_target() {
  local name=$1 project=$2 target=$3 seed
  shift 3
  echo "seed,rounds_to_$target,last_accuracy" >"$results/$name.csv"
  for seed in "${seeds[@]}"; do
    curve "$name" "$project" "$seed" "evaluation.target_accuracy=$target" "$@"
    accuracies "$results/curves/$name-$seed.csv" |
      awk -v seed="$seed" -v target="$target" '$2 >= target && !at {at = $1} {last = $2} END {print seed "," (at ? at : "none") "," last}' \
        >>"$results/$name.csv"
  done
  say "$name: $(tail -n +2 "$results/$name.csv" | cut -d, -f2 | median) rounds to $target (median of ${#seeds[@]} seeds)"
}

stragglers() {
  local seed
  echo "seed,fedavg_that_drops,fedprox" >"$results/stragglers.csv"
  for seed in "${seeds[@]}"; do
    curve stragglers-fedavg mnist-stragglers "$seed"
    curve stragglers-fedprox mnist-stragglers "$seed" algorithm.name=fedprox algorithm.proximal=2 devices.stragglers_answer=true
    # The mean over the last ten rounds: a single one depends on who took part.
    echo "$seed,$(for name in fedavg fedprox; do
      accuracies "$results/curves/stragglers-$name-$seed.csv" | tail -n 10 | awk '{sum += $2} END {printf "%.4f ", sum / NR}'
    done | sed 's/ $//; s/ /,/')" >>"$results/stragglers.csv"
  done
  say "stragglers: FedAvg that drops them $(tail -n +2 "$results/stragglers.csv" | cut -d, -f2 | median), FedProx $(tail -n +2 "$results/stragglers.csv" | cut -d, -f3 | median)"
}

heart() {
  local split algorithm
  echo "split,fedavg,fedadam,fedyogi" >"$results/heart.csv"
  for ((split = 1; split <= 10; split++)); do
    local line=$split
    for algorithm in fedavg fedadam fedyogi; do
      local settings=()
      [ "$algorithm" = fedavg ] || settings=(algorithm.server_learning_rate=0.03)
      curve "heart-$algorithm" heart "$split" "data.parts=heart/$split" "algorithm.name=$algorithm" "${settings[@]}"
      line+=,$(accuracies "$results/curves/heart-$algorithm-$split.csv" | tail -n 1 | cut -d' ' -f2)
    done
    echo "$line" >>"$results/heart.csv"
  done
  say "heart: mean pooled accuracy over 10 splits: $(awk -F, 'NR > 1 {a += $2; b += $3; c += $4; n++} END {printf "FedAvg %.4f, FedAdam %.4f, FedYogi %.4f", a / n, b / n, c / n}' "$results/heart.csv")"
}

# plot NAME TITLE CURVE... : test accuracy over rounds, as SVG
plot() {
  command -v gnuplot >/dev/null || { say "no plot of $1: gnuplot is missing (package gnuplot-nox)"; return 0; }
  local name=$1 title=$2 lines=() file
  shift 2
  for file in "$@"; do
    lines+=("'< awk -F, \"NR > 1 && \\\$1 == \\\"\\\" && \\\$11 != \\\"\\\" {print \\\$2, \\\$11}\" $file' with lines title '$(basename "$file" .csv)'")
  done
  local all
  all=$(printf ', %s' "${lines[@]}")
  gnuplot <<END
set terminal svg size 720,420 font 'sans,12'
set output '$results/$name.svg'
set title '$title'
set xlabel 'round'
set ylabel 'accuracy on the test split'
set key bottom right
set grid
plot ${all:2}
END
}

cd "$data"
for experiment in "$@"; do
  case "$experiment" in
    2nn-iid-e1) to_target 2nn-iid-e1 mnist-2nn 0.97 ;;
    2nn-iid-e10) to_target 2nn-iid-e10 mnist-2nn 0.97 training.epochs=10 ;;
    2nn-shards-e1) to_target 2nn-shards-e1 mnist-2nn 0.97 data.partition=shards:2 ;;
    cnn-iid-e5) to_target cnn-iid-e5 mnist-cnn 0.99 ;;
    stragglers) stragglers ;;
    heart) heart ;;
    *) die "there is no experiment '$experiment'" ;;
  esac
  case "$experiment" in
    stragglers | heart) plot "$experiment" "$experiment" "$results/curves/$experiment"-*-1.csv ;;
    *) plot "$experiment" "$experiment" "$results/curves/$experiment"-*.csv ;;
  esac
done
