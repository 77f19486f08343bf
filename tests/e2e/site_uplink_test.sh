#!/usr/bin/env bash
# A site in a network namespace of its own loses its uplink for a minute, packets dropped without a word: its devices go
# on with their rounds, and what it sends counts once when the link is back. In the next cycle its coordinator is killed
# and started again. The model is that of an undisturbed fleet.
# Needs root, for the namespaces; skipped (77) without.
set -euo pipefail

source_dir=${1:?usage: site_uplink_test.sh SOURCE_DIR}
dark=60 devices=2 cycles=2 rounds=5
if [ "$(id -u)" -ne 0 ]; then
  echo "not root: no network namespaces"
  exit 77
fi
# Everything below has namespaces that end with this process and what it started.
if [ -z "${FLOPS_SEALED:-}" ]; then
  FLOPS_SEALED=yes exec unshare --net --mount --pid --fork --kill-child --mount-proc bash "${BASH_SOURCE[0]}" "$source_dir"
fi
# shellcheck source=scripts/lib.sh
. "$source_dir/scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$source_dir/scripts/processes.sh"

bin=$source_dir/build/release/bin
base=$(mktemp -d)
folder=$base
keep_started=no
clean_up() {
  local status=$?
  [ "$status" = 0 ] || tail -n 15 "$folder"/logs/*.log >&2 || true
  stop_all
  rm -rf "$base"
}
trap clean_up EXIT
fail() {
  say "site uplink test: $*"
  exit 1
}

mount -t tmpfs none /run
mkdir -p /run/netns
ip link set lo up
ip netns add site
ip link add top type veth peer name uplink netns site
ip addr add 10.77.0.1/24 dev top
ip link set top up
ip -n site addr add 10.77.0.2/24 dev uplink
ip -n site link set uplink up
ip -n site link set lo up
at_site() { ip netns exec site "$@"; }
cut_link() { iptables -A INPUT -i top -j DROP && iptables -A OUTPUT -o top -j DROP; }
mend_link() { iptables -F INPUT && iptables -F OUTPUT; }

start_coordinator() { # NAME WHERE
  # shellcheck disable=SC2086 # the words of a command
  start "$1" "$folder/logs/$1.log" $2 "$bin/flops-coordinator" --config "$folder/$1.toml"
}
kill_site() {
  local i
  for i in "${!started_names[@]}"; do
    if [ "${started_names[$i]}" = site ]; then
      kill -KILL "${started_pids[$i]}"
      wait "${started_pids[$i]}" 2>/dev/null || true
      unset "started_names[$i]" "started_pids[$i]"
      started_names=("${started_names[@]}") started_pids=("${started_pids[@]}")
      return
    fi
  done
}
# coordinator NAME ADDRESS WHERE LINE...: WHERE is what its command begins with, empty or at_site's.
coordinator() {
  local name=$1 address=$2 where=$3
  shift 3
  cat >"$folder/$name.toml" <<END
fleet = "uplink-test"
state.folder = "$folder/$name"
api.address = "$address"
api.public_host = "$address"
api.port = 0
broker.mode = "managed"
broker.address = "$address"
broker.public_host = "$address"
broker.port = 0
END
  printf '%s\n' "$@" >>"$folder/$name.toml"
  start_coordinator "$name" "$where"
  wait_for "the addresses of $name" 60 test -s "$folder/$name/endpoints.json"
  cat >"$folder/$name.ctl.toml" <<END
coordinator = "$(jq -r .api "$folder/$name/endpoints.json")"
ca = "$folder/$name/ca.pem"
token_file = "$folder/$name/admin.token"
END
  wait_for "$name to answer" 60 answers "$name"
}
ctl() { # NAME argument...
  local name=$1 where=()
  shift
  [ "$name" = top ] || where=(ip netns exec site)
  "${where[@]}" env FLOPSCTL_CONFIG="$folder/$name.ctl.toml" "$bin/flopsctl" "$@"
}
answers() { ctl "$1" device list >/dev/null 2>&1; }
ready_devices() { # NAME count
  [ "$(ctl "$1" device list -o json | jq '[.devices[] | select(.online and (.datasets | length) > 0)] | length')" -eq "$2" ]
}
# The round that the site is at, counted through all cycles.
site_rounds() { ctl site run list -o json | jq "[.runs[].round] | max // 0"; }
part_begun() { [ "$(site_rounds)" -ge 2 ]; }
killed_in=
next_begun() { killed_in=$(site_rounds); [ "$killed_in" -ge $((rounds + 2)) ]; }
state_of_run() { ctl top run show run-1 -o json | jq -r .state; }
over() { [[ $(state_of_run) =~ ^(finished|failed|stopped)$ ]]; }

fleet() { # NAME: starts one, and its run
  folder=$base/$1 run_folder=$base/$1
  mkdir -p "$folder/logs"
  coordinator top 10.77.0.1 ""
  ctl top token create --site --expires 1h --note site >"$folder/site.token" 2>/dev/null
  coordinator site 127.0.0.1 "ip netns exec site" 'role = "cluster"' 'parent.device = "site"' \
    "parent.url = \"$(jq -r .api "$folder/top/endpoints.json")\"" "parent.token_file = \"$folder/site.token\"" \
    "parent.program = \"$bin/flops-agent\""
  local token n data
  token=$(ctl site token create --uses "$devices" --expires 1h 2>/dev/null)
  for ((n = 1; n <= devices; n++)); do
    data=$base/data/device-$n
    cat >"$folder/device-$n.toml" <<END
device = "device-$n"
[state]
folder = "$folder/device-$n"
[trainer]
program = "$bin/flops-trainer"
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
    at_site "$bin/flops-agent" enroll --config "$folder/device-$n.toml" --token "$token" \
      --coordinator "$(jq -r .api "$folder/site/endpoints.json")" >"$folder/logs/device-$n.log" 2>&1 || fail "device-$n could not enrol"
    start "device-$n" "$folder/logs/device-$n.log" ip netns exec site "$bin/flops-agent" run --config "$folder/device-$n.toml"
  done
  wait_for "the devices at the site" 60 ready_devices site "$devices"
  wait_for "the site" 60 ready_devices top 1
  ctl top run start --model cnn-small --data fashion-mnist --rounds "$rounds" --cycles "$cycles" --clusters sites \
    --global-min-fit 1 --min-fit "$devices" --min-available "$devices" --batch 32 --lr 0.03 --momentum 0.9 >/dev/null
}
end_fleet() {
  wait_for "the run to end" 400 over
  [ "$(state_of_run)" = finished ] || fail "the run is $(state_of_run)"
  ctl top run show run-1 -o json >"$folder/run.json"
  stop_all
  started_pids=() started_names=()
}

"$bin/flopsctl" dataset partition --source fashion-mnist --devices "$devices" --partition iid --seed 1 --out "$base/data" >&2

fleet undisturbed
end_fleet

fleet disturbed
wait_for "the site to be at work" 120 part_begun
cut_link
before=$(site_rounds)
say "link cut: the site has done $before rounds"
sleep "$dark"
during=$(site_rounds)
over && fail "the run is over without the site"
mend_link
say "link mended: $during rounds"
[ "$during" -gt "$before" ] || fail "the site did nothing without its uplink"
wait_for "the next cycle to be under way" 120 next_begun
kill_site
start_coordinator site "ip netns exec site"
say "coordinator of the site killed in its round $killed_in, and started again"
end_fleet

[ "$(jq -r .model_digest "$base/disturbed/run.json")" = "$(jq -r .model_digest "$base/undisturbed/run.json")" ] ||
  fail "the model is another than that of the undisturbed fleet"
for name in undisturbed disturbed; do
  # Each cycle has one contribution, of the site.
  jq -e --argjson cycles "$cycles" '[.rounds[] | select(.round >= 1) | .participants] == [range($cycles) | 1]' \
    "$base/$name/run.json" >/dev/null || fail "$name: not one contribution a cycle: $(jq -c .rounds "$base/$name/run.json")"
done
say "counted once; the same model: $(jq -r .model_digest "$base/disturbed/run.json")"
