#!/usr/bin/env bash
# Projects with the real programs: a Git repository becomes a model and ends at its goal; a paused project leaves the
# fleet to another one and goes on with the same devices; one that nobody can train says so; one that is stopped leaves
# nothing at work.
set -euo pipefail

source_dir=${1:?usage: project_test.sh SOURCE_DIR}
# shellcheck source=scripts/lib.sh
. "$source_dir/scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$source_dir/scripts/processes.sh"

bin=$source_dir/build/release/bin
folder=$(mktemp -d)
run_folder=$folder
mkdir -p "$folder/logs"
clean_up() {
  local status=$?
  [ "$status" = 0 ] || tail -n 40 "$folder"/logs/*.log >&2 || true
  stop_all
  [ -n "${KEEP:-}" ] || rm -rf "$folder"
}
trap clean_up EXIT
fail() {
  say "project test: $*"
  exit 1
}

cat >"$folder/coordinator.toml" <<END
fleet = "projects"
[state]
folder = "coordinator"
[api]
port = 0
[broker]
port = 0
END
start coordinator "$folder/logs/coordinator.log" "$bin/flops-coordinator" --config "$folder/coordinator.toml"
wait_for "the coordinator" 60 test -s "$folder/coordinator/endpoints.json"
url=$(jq -r .api "$folder/coordinator/endpoints.json")
cat >"$folder/flopsctl.toml" <<END
coordinator = "$url"
ca = "coordinator/ca.pem"
token_file = "coordinator/admin.token"
END
ctl() { "$bin/flopsctl" --config "$folder/flopsctl.toml" "$@"; }
wait_for "the broker" 60 ctl status >/dev/null 2>&1

devices=3
ctl dataset partition --source fashion-mnist --devices "$devices" --out "$folder/data" >/dev/null
token=$(ctl token create --uses "$devices" 2>/dev/null)
for ((n = 1; n <= devices; n++)); do
  data=$folder/data/device-$n
  cat >"$folder/device-$n.toml" <<END
device = "device-$n"
[state]
folder = "device-$n"
[trainer]
program = "$bin/flops-trainer"
threads = 1
[[dataset]]
tag = "fashion-mnist"
format = "idx"
train_samples = "$data/train-images.idx3-ubyte"
train_labels = "$data/train-labels.idx1-ubyte"
test_samples = "$data/test-images.idx3-ubyte"
test_labels = "$data/test-labels.idx1-ubyte"
END
  "$bin/flops-agent" enroll --config "$folder/device-$n.toml" --coordinator "$url" --token "$token" >"$folder/logs/device-$n.log" 2>&1 ||
    fail "device-$n could not enrol"
  start "device-$n" "$folder/logs/device-$n.log" "$bin/flops-agent" run --config "$folder/device-$n.toml"
done
ready_devices() { [ "$(ctl device list -o json | jq '[.devices[] | select(.online and (.datasets | length) > 0)] | length')" -eq "$devices" ]; }
wait_for "the devices" 60 ready_devices
run_is() { [ "$(ctl run show "$1" -o json | jq -r .state)" = "$2" ]; }
idle() { ctl device list -o json | jq -e 'all(.devices[]; .activity == "idle")' >/dev/null; }

say "a commit becomes a model"
repository=$folder/repository
cp -r "$source_dir/examples/fashion-mnist" "$repository"
git -C "$repository" init -q -b main
git -C "$repository" add .
git -C "$repository" -c user.name=Test -c user.email=test@example.org commit -q -m first
commit=$(git -C "$repository" rev-parse HEAD)
echo broken >"$repository/flops.toml" # what is not committed does not count
ctl project submit "file://$repository" --set participants.min_available=3 --set training.early_stop.accuracy=0.75 --watch >"$folder/watch" ||
  fail "the run did not finish: $(cat "$folder/watch")"
ctl run show run-1 -o json >"$folder/run"
jq -e --arg commit "$commit" '.commit == $commit and .project == "fashion-mnist" and .accuracy >= 0.75 and .round < 20 and
  (.reason | contains("0.7500 was wanted")) and .left_out == []' "$folder/run" >/dev/null || fail "not so: $(cat "$folder/run")"
ctl project list | grep -F "fashion-mnist" >/dev/null || fail "the project is not listed"

say "one that nobody can train says so at once"
git -C "$repository" checkout -q .
if ctl project submit "$repository" --set resources.memory_mb=100000000 >/dev/null 2>"$folder/refused"; then
  fail "a project for more memory than anybody has was taken"
fi
grep -F "nobody_can" "$folder/refused" >/dev/null || fail "it does not say that nobody can: $(cat "$folder/refused")"

say "a paused project leaves the fleet to another one, and goes on"
submit() { ctl project submit "$repository" --set "project.name=$1" --set training.rounds="$2" --set training.epochs="$3" \
  --set training.early_stop.accuracy=0 --set participants.min_available=3 --set participants.min_evaluate=1 -o json | jq -r .id; }
long=$(submit long 2 40)
busy() { ctl device list -o json | jq -e 'any(.devices[]; .activity == "training")' >/dev/null; }
wait_for "training" 60 busy
short=$(submit short 1 1)
run_is "$short" waiting || fail "two runs train at once"
ctl project pause long >/dev/null
run_is "$long" paused || fail "it is not paused"
ctl run watch "$short" >/dev/null || fail "the other project did not finish"
run_is "$long" paused || fail "it is not paused any more"
ctl project resume long >/dev/null
ctl project watch long >/dev/null || fail "it did not go on to its end"
ctl run show "$long" -o json | jq -e '(.rounds | length) == 2 and all(.rounds[]; .participants == 3)' >/dev/null ||
  fail "devices are missing: $(ctl run show "$long" -o json)"

say "one that is stopped leaves nothing at work"
last=$(submit last 50 200)
wait_for "training" 60 busy
begin=$SECONDS
ctl project stop last >/dev/null
run_is "$last" stopped || fail "it is not stopped"
wait_for "the devices to be idle" 20 idle
say "idle after at most $((SECONDS - begin + 1)) s"
ctl project delete last >/dev/null
[ "$(ctl project list -o json | jq '.projects | length')" -eq 3 ] || fail "it is not deleted"
