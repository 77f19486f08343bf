#!/usr/bin/env bash
# Trains one model over a fleet of real processes on this machine: a coordinator with its broker, some agents, mutual TLS
# between all of them, and Fashion-MNIST split over the devices. Stops what it started when it ends.
#
#   scripts/quickstart.sh [options]
#     --devices N        agents to start (5)
#     --rounds R         rounds to train, of each cycle (5)
#     --cycles C         global cycles of that many rounds (1)
#     --topology T       flat; grouped:K: one coordinator that does the rounds of K clusters, device n is in cluster
#                        ((n - 1) mod K) + 1; sites:K: these clusters have a coordinator and a broker each, under one that
#                        does the cycles; sites:KxM: each of K sites has M sites below it, and those have the devices (flat)
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

devices=5 rounds=5 cycles=1 topology=flat clusters=0 sites=0 below=0 partition=iid model=cnn-small epochs=1 seed=1
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

choose_topology() { # flat, grouped:K, sites:K, sites:KxM
  topology=$1 clusters=0 sites=0 below=0
  case "$1" in
    flat) ;;
    grouped:*) number "--topology grouped" "${1#grouped:}"; clusters=${1#grouped:} ;;
    sites:*x*x*) usage "--topology: '$1' is neither flat, grouped:K, sites:K nor sites:KxM" ;;
    sites:*x*) sites=${1#sites:} below=${1##*x}; sites=${sites%%x*}; number "--topology sites" "$sites"; number "--topology sites:${sites}x" "$below" ;;
    sites:*) number "--topology sites" "${1#sites:}"; sites=${1#sites:} ;;
    *) usage "--topology: '$1' is neither flat, grouped:K, sites:K nor sites:KxM" ;;
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

# The names of sites that have devices, and of those that have sites.
leaves=() middles=()
for ((k = 1; k <= sites; k++)); do
  if [ "$below" -eq 0 ]; then leaves+=("site-$k"); else middles+=("site-$k"); fi
  for ((m = 1; m <= below; m++)); do leaves+=("site-$k-$m"); done
done
[ $((clusters + ${#leaves[@]})) -le "$devices" ] || usage "--topology $topology: more clusters than devices"

if [ -n "$json_file" ]; then
  mkdir -p "$(dirname "$json_file")"
  json_file=$(cd "$(dirname "$json_file")" && pwd)/$(basename "$json_file")
fi

# --- programs ---------------------------------------------------------------------------------------------------------
[ "$install" = no ] || "$ROOT/scripts/setup.sh" --build-only
command -v jq >/dev/null || die "jq is missing: run scripts/setup.sh"
say "Building (release)..."
configure_and_build release flops-coordinator flops-agent flops-trainer flops-site flopsctl >&2
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
# start_coordinator NAME [LINE...]: with the lines at the end of its configuration. Sets `api`; $run_folder/NAME.ctl.toml
# is for flopsctl.
api=
start_coordinator() {
  local name=$1 folder=$run_folder/$1
  shift
  cat >"$run_folder/$name.toml" <<EOF
fleet = "quickstart"
state.folder = "$folder"
api.address = "127.0.0.1"
api.port = 0
broker.mode = "managed"
broker.address = "127.0.0.1"
broker.port = 0
EOF
  printf '%s\n' "$@" >>"$run_folder/$name.toml"
  start "$name" "$run_folder/logs/$name.log" "$bin/flops-coordinator" --config "$run_folder/$name.toml"
  wait_for "the addresses of $name" 60 test -s "$folder/endpoints.json"
  api=$(jq -r .api "$folder/endpoints.json")
  cat >"$run_folder/$name.ctl.toml" <<EOF
coordinator = "$api"
ca = "$folder/ca.pem"
token_file = "$folder/admin.token"
EOF
  wait_for "$name to be ready" 60 ready "$name"
}
flopsctl_of() { FLOPSCTL_CONFIG=$run_folder/$1.ctl.toml "$bin/flopsctl" "${@:2}"; }
ready() { flopsctl_of "$1" device list >/dev/null 2>&1; }
new_token() { flopsctl_of "$1" token create --uses "$2" --expires 1h --note "quick start" "${@:3}" 2>/dev/null; }

start_coordinator coordinator
export FLOPSCTL_CONFIG=$run_folder/coordinator.ctl.toml
say "Coordinator: $api"
home_of() { echo coordinator; } # device number: whose device it is
# start_site NAME PARENT, with a token of which $run_folder/PARENT.token has enough uses
start_site() {
  start_coordinator "$1" 'role = "cluster"' "parent.url = \"$(jq -r .api "$run_folder/$2/endpoints.json")\"" \
    "parent.device = \"$1\"" "parent.token_file = \"$run_folder/$2.token\"" "parent.program = \"$bin/flops-agent\""
  say "Coordinator of $1: $api"
}
if [ "$sites" -gt 0 ]; then
  home_of() { echo "${leaves[($1 - 1) % ${#leaves[@]}]}"; }
  new_token coordinator "$sites" --site >"$run_folder/coordinator.token"
  for ((k = 1; k <= sites; k++)); do
    start_site "site-$k" coordinator
    [ "$below" -eq 0 ] || new_token "site-$k" "$below" --site >"$run_folder/site-$k.token"
    for ((m = 1; m <= below; m++)); do start_site "site-$k-$m" "site-$k"; done
  done
fi

# --- devices --------------------------------------------------------------------------------------------------------------
say "Splitting Fashion-MNIST over $devices devices ($partition)"
"$bin/flopsctl" dataset partition --source fashion-mnist --devices "$devices" --partition "$partition" \
  --seed "$seed" --out "$run_folder/data" >&2
declare -A tokens=()

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
  home=$(home_of "$n")
  [ -n "${tokens[$home]:-}" ] || tokens[$home]=$(new_token "$home" "$devices")
  "$bin/flops-agent" enroll --config "$run_folder/$device.toml" --coordinator "$(jq -r .api "$run_folder/$home/endpoints.json")" \
    --token "${tokens[$home]}" \
    >"$run_folder/logs/$device.log" 2>&1 ||
    { tail -n 20 "$run_folder/logs/$device.log" >&2; die "$device could not enrol"; }
  start "$device" "$run_folder/logs/$device.log" "$bin/flops-agent" run --config "$run_folder/$device.toml"
done
# Those that are there with their data, at this coordinator; sites have that of their devices.
online_at() { flopsctl_of "$1" device list -o json | jq '[.devices[] | select(.online and (.datasets | length) > 0)] | length'; }
all_online() {
  local name online=0
  [ "$sites" -gt 0 ] || { [ "$(online_at coordinator)" -eq "$devices" ]; return; }
  for name in "${leaves[@]}"; do
    online=$((online + $(online_at "$name")))
  done
  for name in "${middles[@]}"; do
    [ "$(online_at "$name")" -eq "$below" ] || return 1
  done
  [ "$online" -eq "$devices" ] && [ "$(online_at coordinator)" -eq "$sites" ]
}
wait_for "all devices to be online" 120 all_online
say "$devices devices are online$([ "$sites" -eq 0 ] || echo ", at ${#leaves[@]} sites")"

# --- the run ----------------------------------------------------------------------------------------------------------------
measure_idle "$run_folder/memory"
start_sampling "$run_folder/memory"
fit=(--min-fit "$devices" --min-available "$devices")
if [ "$clusters" -gt 0 ]; then
  # Of each cluster; they differ by one device at most.
  fit=(--min-fit $((devices / clusters)) --clusters label:cluster --global-min-fit "$clusters")
elif [ "$sites" -gt 0 ]; then
  fit=(--min-fit $((devices / ${#leaves[@]})) --clusters sites --global-min-fit "$sites")
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
# What the sites' devices, and sites below others, sent and got, their own coordinators know: a list a level.
for level in leaves middles; do
  declare -n names=$level
  for name in "${names[@]}"; do
    flopsctl_of "$name" run list -o json
  done | jq -s '[.[].runs[]]'
done >"$run_folder/parts.json"

# --- the result -------------------------------------------------------------------------------------------------------------
result=$run_folder/result.json
jq -n --slurpfile run "$run_folder/run.json" --slurpfile parts "$run_folder/parts.json" --arg path "$model_path" --arg topology "$topology" --argjson memory "$(memory_json "$run_folder/memory")" '
  $run[0] | {
    rounds: [.rounds[] | select(.round >= 1) |
             {round, accuracy, loss, participants, bytes_up, bytes_down, seconds, train_seconds_max}],
    accuracy, model_digest, model_path: $path,
    levels: ([$parts[] | select(. != []) | {bytes_up: (map(.bytes_up) | add), bytes_down: (map(.bytes_down) | add)}] as $below |
      if $below == [] then .levels else
        [$below + .levels[1:] | to_entries[] | {level: (.key + 1), bytes_up: .value.bytes_up, bytes_down: .value.bytes_down}] end),
    topology: $topology,
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
  export FLOPSCTL_CONFIG=$run_folder/coordinator.ctl.toml
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
