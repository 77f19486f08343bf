#!/usr/bin/env bash
# An emulated 64-bit ARM device among native ones: its agent and its trainer are those of the preset arm64, under
# qemu-user. It takes part in every round of a run; and the model is that of the same run with native devices only, up to
# what the processors' arithmetic differs by: LibTorch rounds differently there, the sums of updates do not.
#
#   arm_device_test.sh SOURCE_DIR
# Skipped (77) without qemu, the sysroot or the programs: cross/make-sysroot.sh, then the preset arm64.
set -euo pipefail

source_dir=${1:?usage: arm_device_test.sh SOURCE_DIR}
# shellcheck source=scripts/lib.sh
. "$source_dir/scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$source_dir/scripts/processes.sh"

devices=3 rounds=2
# Two trainings on the same data by different processors: no parameter may differ by more, of values around 0.1.
tolerance=1e-5
bin=$source_dir/build/release/bin
arm_bin=$source_dir/build/arm64/bin
sysroot=${FLOPS_SYSROOT:-$source_dir/build/sysroot-arm64}
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)

skip() {
  say "arm device test: skipped: $*"
  exit 77
}
[ -n "$qemu" ] || skip "qemu-user-static is not installed"
[ -e "$sysroot/lib/ld-linux-aarch64.so.1" ] || skip "no arm64 system in $sysroot: run cross/make-sysroot.sh"
for program in flops-agent flops-trainer; do
  [ -x "$arm_bin/$program" ] || skip "$arm_bin/$program is not built: cmake --preset arm64 && cmake --build --preset arm64"
done

folder=$(mktemp -d)
keep_started=no
clean_up() {
  local status=$?
  [ "$status" = 0 ] || tail -n 15 "$run_folder"/logs/*.log >&2 || true
  stop_all
  rm -rf "$folder"
}
trap clean_up EXIT
fail() {
  say "arm device test: $*"
  exit 1
}
ctl() { FLOPSCTL_CONFIG=$run_folder/ctl.toml "$bin/flopsctl" "$@"; }
answers() { ctl device list >/dev/null 2>&1; }

# The kernel cannot start a program for ARM, so the emulated agent starts this one. The sandbox is a filter of system
# calls, which qemu does not have.
cat >"$folder/flops-trainer" <<END
#!/bin/sh
exec "$qemu" -L "$sysroot" "$arm_bin/flops-trainer" --no-sandbox "\$@"
END
chmod +x "$folder/flops-trainer"

"$folder/flops-trainer" models >/dev/null || { say "arm device test: the emulated trainer does not start"; exit 1; }

start_coordinator() {
  cat >"$run_folder/coordinator.toml" <<END
fleet = "arm-test"
state.folder = "$run_folder/coordinator"
api.address = "127.0.0.1"
api.port = 0
broker.mode = "managed"
broker.address = "127.0.0.1"
broker.port = 0
END
  start coordinator "$run_folder/logs/coordinator.log" "$bin/flops-coordinator" --config "$run_folder/coordinator.toml"
  wait_for "the coordinator's addresses" 60 test -s "$run_folder/coordinator/endpoints.json"
  api=$(jq -r .api "$run_folder/coordinator/endpoints.json")
  cat >"$run_folder/ctl.toml" <<END
coordinator = "$api"
ca = "$run_folder/coordinator/ca.pem"
token_file = "$run_folder/coordinator/admin.token"
END
  wait_for "the coordinator to answer" 60 answers
}

start_device() { # number, folder of its programs, emulator...
  local name=device-$1 programs=$2 data=$folder/data/device-$1
  shift 2
  cat >"$run_folder/$name.toml" <<END
device = "$name"
[state]
folder = "$run_folder/$name"
[trainer]
program = "$programs/flops-trainer"
threads = 1
background = false
[[dataset]]
tag = "fashion-mnist"
format = "idx"
train_samples = "$data/train-images.idx3-ubyte"
train_labels = "$data/train-labels.idx1-ubyte"
test_samples = "$data/test-images.idx3-ubyte"
test_labels = "$data/test-labels.idx1-ubyte"
END
  "$@" enroll --config "$run_folder/$name.toml" --coordinator "$api" --token "$token" >"$run_folder/logs/$name.log" 2>&1 ||
    fail "$name could not enrol"
  start "$name" "$run_folder/logs/$name.log" "$@" run --config "$run_folder/$name.toml"
}
online() { # architectures of the devices that are there with their data, sorted
  ctl device list -o json | jq -r '[.devices[] | select(.online and (.datasets | length) > 0) | .architecture] | sort | join(" ")'
}
are_online() { [ "$(online)" = "$1" ]; }

# A fleet of its own for each run. The last device is the one that is emulated or not.
run_fleet() { # name, architectures expected, folder of the last device's trainer, its agent's command...
  run_folder=$folder/$1
  local architectures=$2 last_programs=$3 n run api token
  shift 3
  mkdir -p "$run_folder/logs"
  start_coordinator
  token=$(ctl token create --uses "$devices" --expires 1h 2>/dev/null)
  for ((n = 1; n < devices; n++)); do
    start_device "$n" "$bin" "$bin/flops-agent"
  done
  start_device "$devices" "$last_programs" "$@"
  wait_for "the devices" 300 are_online "$architectures"
  run=$(ctl run start --model softmax --data fashion-mnist --rounds "$rounds" --seed 1 --min-fit "$devices" \
    --min-available "$devices" --batch 32 --lr 0.03 --momentum 0.9 -o json | jq -r .id)
  foreground timeout 600 env FLOPSCTL_CONFIG="$run_folder/ctl.toml" "$bin/flopsctl" run watch "$run" >"$run_folder/logs/watch.log" 2>&1 ||
    fail "the run did not finish"
  ctl run show "$run" -o json >"$run_folder/run.json"
  ctl model get "$run" --output "$run_folder/model.safetensors" >/dev/null
  stop_all
  started_pids=() started_names=()
  jq -e --argjson devices "$devices" --argjson rounds "$rounds" \
    '[.rounds[] | select(.round >= 1) | .participants] == [range($rounds) | $devices] and .accuracy > 0.5' "$run_folder/run.json" >/dev/null ||
    fail "not all devices took part in every round: $(jq -c .rounds "$run_folder/run.json")"
}

values_of() { # model: a parameter a line
  local header
  header=$(od -An -tu8 -N8 "$1" | tr -d ' ')
  od -An -v -tf4 -w4 -j $((8 + header)) "$1"
}
largest_difference() { # two models
  paste <(values_of "$1") <(values_of "$2") |
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > largest) largest = d; if (NF != 2) odd = 1 }
         END { if (odd || NR == 0) exit 1; printf "%.3g\n", largest }'
}

"$bin/flopsctl" dataset partition --source fashion-mnist --devices "$devices" --partition iid --seed 1 --out "$folder/data" >&2
native=$(uname -m)
begin=$SECONDS
run_fleet native "$native $native $native" "$bin" "$bin/flops-agent"
say "native devices: $((SECONDS - begin)) s"
begin=$SECONDS
run_fleet mixed "aarch64 $native $native" "$folder" "$qemu" -L "$sysroot" "$arm_bin/flops-agent"
say "with an emulated ARM device: $((SECONDS - begin)) s"
grep -q -- --no-sandbox "$run_folder/logs/device-$devices.log" || fail "the trainer was not the emulated one"

for name in native mixed; do
  say "$name: accuracy $(jq .accuracy "$folder/$name/run.json"), model $(jq -r .model_digest "$folder/$name/run.json")"
done
difference=$(largest_difference "$folder/native/model.safetensors" "$folder/mixed/model.safetensors") || fail "the models are not alike"
say "largest difference of a parameter: $difference (at most $tolerance)"
awk -v difference="$difference" -v tolerance="$tolerance" 'BEGIN { exit !(difference <= tolerance) }' ||
  fail "training on ARM gives another model: a parameter differs by $difference"
