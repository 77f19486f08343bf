#!/usr/bin/env bash
# Trains one model over a fleet of real processes on this machine: a coordinator with its broker, some agents, mutual TLS
# between all of them, and Fashion-MNIST split over the devices. Stops what it started when it ends.
#
#   scripts/quickstart.sh [options]
#     --devices N        agents to start (5)
#     --rounds R         rounds to train, of each cycle (5)
#     --cycles C         global cycles of that many rounds (1)
#     --topology T       flat, or grouped:K: one coordinator that does the rounds of K clusters, device n is in cluster
#                        ((n - 1) mod K) + 1 (flat)
#     --partition P      iid, dirichlet:A, shards:K or powerlaw:K (iid)
#     --model NAME       model of the zoo (cnn-small)
#     --epochs E         passes over the local data a round (1)
#     --seed S           of the split, the first parameters and the shuffling (1)
#     --dir D            where run folders are made ($XDG_STATE_HOME or ~/.local/state, /flops-quickstart)
#     --no-evaluate      do not measure the aggregated models (for timing)
#     --no-install       do not install missing packages
#     --keep-running     leave coordinator and agents running at the end
#     --json FILE        write the result as one JSON document
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/processes.sh
. "$ROOT/scripts/processes.sh"

devices=5 rounds=5 cycles=1 topology=flat clusters=0 partition=iid model=cnn-small epochs=1 seed=1
base=${XDG_STATE_HOME:-${HOME:-/tmp}/.local/state}/flops-quickstart
install=yes keep_running=no json_file='' evaluate=()

usage() {
  [ $# -eq 0 ] || say "error: $*"
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}
number() { # option, value
  [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || usage "$1: '$2' is not a positive number"
}

choose_topology() { # flat, grouped:K
  topology=$1 clusters=0
  case "$1" in
    flat) ;;
    grouped:*) number "--topology grouped" "${1#grouped:}"; clusters=${1#grouped:} ;;
    sites:*) usage "--topology $1: coordinators at several sites come later; grouped:K has clusters in one coordinator" ;;
    *) usage "--topology: '$1' is neither flat nor grouped:K" ;;
  esac
}

while [ $# -gt 0 ]; do
  case "$1" in
    --devices | --rounds | --cycles | --topology | --partition | --model | --epochs | --seed | --dir | --json)
      [ $# -ge 2 ] || usage "$1 needs a value"
      ;;
  esac
  case "$1" in
    --devices) number "$1" "$2"; devices=$2; shift ;;
    --rounds) number "$1" "$2"; rounds=$2; shift ;;
    --cycles) number "$1" "$2"; cycles=$2; shift ;;
    --topology) choose_topology "$2"; shift ;;
    --epochs) number "$1" "$2"; epochs=$2; shift ;;
    --partition) partition=$2; shift ;;
    --model) model=$2; shift ;;
    --seed) [[ $2 =~ ^[0-9]{1,15}$ ]] || usage "--seed: '$2' is not a number"; seed=$2; shift ;;
    --dir) base=$2; shift ;;
    --json) json_file=$2; shift ;;
    --no-evaluate) evaluate=(--no-evaluate) ;;
    --no-install) install=no ;;
    --keep-running) keep_running=yes ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done

[ "$clusters" -le "$devices" ] || usage "--topology $topology: more clusters than devices"

if [ -n "$json_file" ]; then
  mkdir -p "$(dirname "$json_file")"
  json_file=$(cd "$(dirname "$json_file")" && pwd)/$(basename "$json_file")
fi

# --- programs ---------------------------------------------------------------------------------------------------------
[ "$install" = no ] || "$ROOT/scripts/setup.sh" --build-only
command -v jq >/dev/null || die "jq is missing: run scripts/setup.sh"
say "Building (release)..."
configure_and_build release flops-coordinator flops-agent flops-trainer flopsctl >&2
bin=$ROOT/build/release/bin

# --- a fresh folder -----------------------------------------------------------------------------------------------------
mkdir -p "$base"
base=$(cd "$base" && pwd)
run_folder=$(mktemp -d "$base/run-$(date +%Y%m%d-%H%M%S)-XXXX")
ln -sfn "$run_folder" "$base/latest"
state=$run_folder/coordinator
mkdir -p "$run_folder/logs" "$run_folder/memory"
say "Folder of this run: $run_folder"

finish() { # exit status
  trap '' INT TERM
  trap - EXIT
  if [ "$1" -eq 0 ] && [ "$keep_running" = yes ]; then
    exit 0
  fi
  stop_all
  exit "$1"
}
trap 'finish $?' EXIT
trap 'say "Interrupted: stopping."; finish 130' INT
trap 'finish 143' TERM
keep_started=$keep_running

# --- coordinator ----------------------------------------------------------------------------------------------------------
cat >"$run_folder/coordinator.toml" <<EOF
fleet = "quickstart"
[state]
folder = "$state"
[api]
address = "127.0.0.1"
port = 0
[broker]
mode = "managed"
address = "127.0.0.1"
port = 0
EOF
start coordinator "$run_folder/logs/coordinator.log" \
  "$bin/flops-coordinator" --config "$run_folder/coordinator.toml"
wait_for "the coordinator's addresses" 60 test -s "$state/endpoints.json"
api=$(jq -r .api "$state/endpoints.json")
cat >"$run_folder/flopsctl.toml" <<EOF
coordinator = "$api"
ca = "$state/ca.pem"
token_file = "$state/admin.token"
EOF
export FLOPSCTL_CONFIG=$run_folder/flopsctl.toml
ready() { "$bin/flopsctl" device list >/dev/null 2>&1; }
wait_for "the coordinator to be ready" 60 ready
say "Coordinator: $api"

# --- devices --------------------------------------------------------------------------------------------------------------
say "Splitting Fashion-MNIST over $devices devices ($partition)"
"$bin/flopsctl" dataset partition --source fashion-mnist --devices "$devices" --partition "$partition" \
  --seed "$seed" --out "$run_folder/data" >&2
token=$("$bin/flopsctl" token create --uses "$devices" --expires 1h --note "quick start" 2>/dev/null)

cores=$(nproc)
threads=$((cores / devices > 1 ? cores / devices : 1))
for ((n = 1; n <= devices; n++)); do
  device=device-$n
  data=$run_folder/data/$device
  cat >"$run_folder/$device.toml" <<EOF
device = "$device"
[state]
folder = "$run_folder/$device"
[trainer]
program = "$bin/flops-trainer"
threads = $threads
background = false  # the whole fleet shares this machine, and training is its only work
[[dataset]]
tag = "fashion-mnist"
format = "idx"
train_samples = "$data/train-images.idx3-ubyte"
train_labels = "$data/train-labels.idx1-ubyte"
test_samples = "$data/test-images.idx3-ubyte"
test_labels = "$data/test-labels.idx1-ubyte"
EOF
  if [ "$clusters" -gt 0 ]; then
    printf '[labels]\ncluster = "c%d"\n' $(((n - 1) % clusters + 1)) >>"$run_folder/$device.toml"
  fi
  "$bin/flops-agent" enroll --config "$run_folder/$device.toml" --coordinator "$api" --token "$token" \
    >"$run_folder/logs/$device.log" 2>&1 ||
    { tail -n 20 "$run_folder/logs/$device.log" >&2; die "$device could not enrol"; }
  start "$device" "$run_folder/logs/$device.log" "$bin/flops-agent" run --config "$run_folder/$device.toml"
done
all_online() {
  local online
  online=$("$bin/flopsctl" device list -o json | jq '[.devices[] | select(.online)] | length') &&
    [ "$online" -eq "$devices" ]
}
wait_for "all devices to be online" 120 all_online
say "$devices devices are online"

# --- the run ----------------------------------------------------------------------------------------------------------------
measure_idle "$run_folder/memory"
start_sampling "$run_folder/memory"
fit=(--min-fit "$devices" --min-available "$devices")
if [ "$clusters" -gt 0 ]; then
  # Of each cluster; they differ by one device at most.
  fit=(--min-fit $((devices / clusters)) --clusters label:cluster --global-min-fit "$clusters")
fi
run=$("$bin/flopsctl" run start --model "$model" --data fashion-mnist --rounds "$rounds" --cycles "$cycles" --epochs "$epochs" \
  --seed "$seed" "${fit[@]}" --batch 32 --lr 0.03 --momentum 0.9 "${evaluate[@]}" -o json | jq -r .id)
# In the background and waited for, so that a signal is acted on at once.
watch_status=0
foreground "$bin/flopsctl" run watch "$run" || watch_status=$?
[ "$watch_status" -eq 0 ] || die "the run did not finish (flopsctl exited with $watch_status); logs: $run_folder/logs"
measure_peak "$run_folder/memory"

model_path=$run_folder/model.safetensors
"$bin/flopsctl" model get "$run" --output "$model_path" >/dev/null
"$bin/flopsctl" run show "$run" -o json >"$run_folder/run.json"

# --- the result -------------------------------------------------------------------------------------------------------------
result=$run_folder/result.json
jq -n --slurpfile run "$run_folder/run.json" --arg path "$model_path" --arg topology "$topology" --argjson memory "$(memory_json "$run_folder/memory")" '
  $run[0] | {
    rounds: [.rounds[] | select(.round >= 1) |
             {round, accuracy, loss, participants, bytes_up, bytes_down, seconds, train_seconds_max}],
    accuracy, model_digest, model_path: $path,
    levels, topology: $topology,
    run: .id, model: .model_name, parameters,
    programs: $memory
  }' >"$result"
[ -z "$json_file" ] || cp "$result" "$json_file"

broker_host=$(jq -r .broker_host "$state/endpoints.json")
broker_port=$(jq -r .broker_port "$state/endpoints.json")
cat <<EOF

Accuracy on the devices' own test data: $(jq -r 'if .accuracy then .accuracy * 10000 | round / 10000 else "not measured" end' "$result")
Model: $model_path
Result: $result
EOF
if [ "$keep_running" = yes ]; then
  cat <<EOF

Coordinator and agents are still running. Look further:
  export FLOPSCTL_CONFIG=$run_folder/flopsctl.toml
  $bin/flopsctl run show $run
  $bin/flopsctl device list
  $bin/flopsctl run start --model $model --data fashion-mnist --min-fit $devices --watch
  mosquitto_sub -V 5 -h $broker_host -p $broker_port --cafile $state/ca.pem \\
    --cert $state/observer/certificate.pem --key $state/observer/key.pem -v -t 'flops/v1/quickstart/devices/+/state'
Stop them:
  kill $(running_pids)
EOF
else
  cat <<EOF

Everything is stopped. To look around in a fleet that keeps running:
  scripts/quickstart.sh --keep-running
EOF
fi
