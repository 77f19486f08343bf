#!/usr/bin/env bash
# Processor time of an agent from its start until it is connected, with a real coordinator and broker on this machine:
# of each start, and the median.
#
#   bench/start/agent_start.sh [STARTS]    (10)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$ROOT/scripts/processes.sh"

starts=${1:-10}
bin=$ROOT/build/release/bin
folder=$(mktemp -d)
run_folder=$folder
mkdir "$folder/logs"
agent_pid=
clean_up() {
  [ -z "$agent_pid" ] || stop_pids 10 "$agent_pid"
  stop_all
  rm -rf "$folder"
}
trap clean_up EXIT

printf '[state]\nfolder = "hub"\n[api]\nport = 0\n[broker]\nport = 0\n' >"$folder/hub.toml"
printf 'device = "pi-1"\n[state]\nfolder = "pi"\n' >"$folder/pi.toml"
start hub "$folder/logs/hub.log" "$bin/flops-coordinator" --config "$folder/hub.toml"
wait_for "the coordinator" 60 test -s "$folder/hub/endpoints.json"
ctl() {
  "$bin/flopsctl" --coordinator "$(jq -r .api "$folder/hub/endpoints.json")" --ca "$folder/hub/ca.pem" --token-file "$folder/hub/admin.token" "$@"
}
wait_for "the broker" 60 ctl status >/dev/null 2>&1
"$bin/flops-agent" enroll --config "$folder/pi.toml" --coordinator "$(jq -r .api "$folder/hub/endpoints.json")" --token "$(ctl token create)" >/dev/null

connected() { grep -q "connected to the broker" "$folder/logs/pi.log"; }
for ((i = 0; i < starts; i++)); do
  : >"$folder/logs/pi.log"
  "$bin/flops-agent" run --config "$folder/pi.toml" >>"$folder/logs/pi.log" 2>&1 </dev/null &
  agent_pid=$!
  wait_for "the agent" 30 connected
  # Nanoseconds on a processor, of each of its threads.
  cat "/proc/$agent_pid/task/"*/schedstat | awk '{sum += $1} END {printf "%.1f ms\n", sum / 1e6}'
  stop_pids 10 "$agent_pid"
  agent_pid=
done | tee "$folder/times"
sort -g "$folder/times" | awk '{v[NR] = $1} END {print "median", (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, "ms of processor time from start to connected"}'
