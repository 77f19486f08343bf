#!/usr/bin/env bash
# A project of a local Git repository on a fleet of this machine, MNIST or Fashion-MNIST, softmax regression:
#   - seconds from `flopsctl project submit` to the first task that a device gets, of each submission, and the median;
#   - seconds from there to the final model of 3 rounds, and its accuracy on the devices' own test samples.
#
#   bench/project/submit.sh [--data FOLDER] [--devices N] [--submissions N]
#     --data FOLDER   IDX files (train-images and so on); default: the Debian package dataset-fashion-mnist
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$ROOT/scripts/processes.sh"

data=fashion-mnist devices=5 submissions=5
while [ $# -gt 0 ]; do
  case "$1" in
    --data) data=$2; shift ;;
    --devices) devices=$2; shift ;;
    --submissions) submissions=$2; shift ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown option '$1'" ;;
  esac
  shift
done

bin=$ROOT/build/release/bin
folder=$(mktemp -d)
run_folder=$folder
mkdir "$folder/logs"
trap 'stop_all; rm -rf "$folder"' EXIT

# The coordinator's log says when a task goes out.
printf 'log_level = "debug"\n[state]\nfolder = "hub"\n[api]\nport = 0\n[broker]\nport = 0\n' >"$folder/hub.toml"
start hub "$folder/logs/hub.log" "$bin/flops-coordinator" --config "$folder/hub.toml"
wait_for "the coordinator" 60 test -s "$folder/hub/endpoints.json"
url=$(jq -r .api "$folder/hub/endpoints.json")
ctl() { "$bin/flopsctl" --coordinator "$url" --ca "$folder/hub/ca.pem" --token-file "$folder/hub/admin.token" "$@"; }
wait_for "the broker" 60 ctl status >/dev/null 2>&1

ctl dataset partition --source "$data" --devices "$devices" --out "$folder/data" >/dev/null
token=$(ctl token create --uses "$devices" 2>/dev/null)
for ((n = 1; n <= devices; n++)); do
  files=$folder/data/device-$n
  cat >"$folder/device-$n.toml" <<END
device = "device-$n"
[state]
folder = "device-$n"
[trainer]
program = "$bin/flops-trainer"
threads = 1
background = false
[[dataset]]
tag = "pictures"
format = "idx"
train_samples = "$files/train-images.idx3-ubyte"
train_labels = "$files/train-labels.idx1-ubyte"
test_samples = "$files/test-images.idx3-ubyte"
test_labels = "$files/test-labels.idx1-ubyte"
END
  "$bin/flops-agent" enroll --config "$folder/device-$n.toml" --coordinator "$url" --token "$token" >"$folder/logs/device-$n.log" 2>&1
  start "device-$n" "$folder/logs/device-$n.log" "$bin/flops-agent" run --config "$folder/device-$n.toml"
done
all_there() { [ "$(ctl device list -o json | jq '[.devices[] | select(.online and (.datasets | length) > 0)] | length')" -eq "$devices" ]; }
wait_for "the devices" 60 all_there

repository=$folder/repository
ctl project init "$repository" --name bench --model softmax --data pictures >/dev/null
git -C "$repository" init -q -b main
git -C "$repository" add .
git -C "$repository" -c user.name=Bench -c user.email=bench@example.org commit -q -m bench

now_ms() { date +%s%3N; }
for ((i = 1; i <= submissions; i++)); do
  begin=$(now_ms)
  run=$(ctl project submit "file://$repository" --set training.rounds=3 --set training.epochs=2 --set training.batch=16 --set training.seed="$i" \
    --set participants.min_available="$devices" -o json | jq -r .id)
  ctl run watch "$run" >/dev/null
  finished=$(now_ms)
  # "2026-11-30T10:00:00.123 flops-coordinator debug runs: task run-1.i0... goes to device-1"
  line=$(grep -m 1 -E "task ${run}\\..* goes to" "$folder/logs/hub.log")
  task=$(date -u -d "${line%% *}Z" +%s%3N)
  awk -v task=$((task - begin)) -v all=$((finished - begin)) -v accuracy="$(ctl run show "$run" -o json | jq .accuracy)" \
    'BEGIN {printf "first task after %.3f s, model after %.2f s, accuracy %.4f\n", task / 1000, all / 1000, accuracy}'
done | tee "$folder/times"
median() { awk -v field="$1" '{print $field}' "$folder/times" | sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
echo "median: first task after $(median 4) s, model after $(median 8) s"
