# shellcheck shell=bash
# Processes of scripts/quickstart.sh: started, waited for, measured, stopped. Sourced after lib.sh.

# Names the folder of the run; its logs/ hold what the processes print.
run_folder=
started_names=()
started_pids=()
sampler_pid=
foreground_pid=
keep_started=no

# start NAME LOG COMMAND...: in the background, in a session of its own, so that Ctrl-C reaches only the script, which
# then stops things in order. Dies with the script, however that ends, unless it is to be kept.
start() {
  local name=$1 log=$2
  shift 2
  if [ "$keep_started" = yes ]; then
    setsid "$@" >>"$log" 2>&1 </dev/null &
  else
    setpriv --pdeathsig TERM setsid "$@" >>"$log" 2>&1 </dev/null &
  fi
  started_names+=("$name")
  started_pids+=($!)
}

# Runs a command so that signals to the script are acted on while it runs.
foreground() {
  local status=0
  "$@" &
  foreground_pid=$!
  wait "$foreground_pid" || status=$?
  foreground_pid=
  return "$status"
}

# Says which started process has ended, with the end of its log.
check_alive() {
  local i
  for i in "${!started_pids[@]}"; do
    if ! kill -0 "${started_pids[$i]}" 2>/dev/null; then
      tail -n 20 "$run_folder/logs/${started_names[$i]}.log" >&2
      die "${started_names[$i]} has ended; its log: $run_folder/logs/${started_names[$i]}.log"
    fi
  done
}

# wait_for WHAT SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@"; do
    check_alive
    [ "$SECONDS" -lt "$deadline" ] || die "gave up waiting for $what; logs: $run_folder/logs"
    sleep 0.2
  done
}

running_pids() {
  local i
  for ((i = ${#started_pids[@]} - 1; i >= 0; i--)); do
    printf '%s ' "${started_pids[$i]}"
  done
}

# stop_pid PID GRACE: TERM, then KILL after `grace` seconds, then wait.
stop_pids() {
  local grace=$1 deadline pid
  shift
  [ $# -gt 0 ] || return 0
  kill -TERM "$@" 2>/dev/null || true
  deadline=$((SECONDS + grace))
  for pid in "$@"; do
    while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
}

# Agents before the coordinator, so that they can say that they go; coordinators of sites with them.
stop_all() {
  [ -z "$foreground_pid" ] || stop_pids 5 "$foreground_pid"
  stop_sampling
  if [ "${#started_pids[@]}" -gt 0 ]; then
    stop_pids 20 "${started_pids[@]:1}"
    stop_pids 20 "${started_pids[0]}"
  fi
  started_pids=()
}

# --- memory -----------------------------------------------------------------------------------------------------------

# Only built-in commands from here to record_programs: sampling must not take time from what is measured.

# status_kb PID FIELD: sets `kb` from a line of /proc/PID/status; 0 when the process is gone.
kb=0
status_kb() {
  local key value _
  kb=0
  while read -r key value _; do
    [ "$key" != "$2:" ] || kb=$value
  done 2>/dev/null <"/proc/$1/status" || true
}

# children_of PID: sets `children`.
children=()
children_of() {
  local file found
  children=()
  for file in "/proc/$1/task/"*/children; do
    found=()
    { read -r -a found <"$file"; } 2>/dev/null || true
    children+=("${found[@]}")
  done
}

# record FILE PID FIELD: keeps the largest value.
record() {
  local old=0
  status_kb "$2" "$3"
  [ ! -s "$1" ] || read -r old <"$1"
  [ "$kb" -le "$old" ] || echo "$kb" >"$1"
}

# program_of PID: sets `program`, as memory_json calls it; empty for what is not measured, the uplinks of sites.
program=
program_of() {
  local name=
  { read -r name <"/proc/$1/comm"; } 2>/dev/null || true
  case "$name" in
    flops-coordinat*) program=coordinator ;;
    flops-agent) program=agent ;;
    flops-trainer) program=trainer ;;
    mosquitto) program=broker ;;
    *) program= ;;
  esac
}

# record_programs FOLDER FIELD SUFFIX: one file a program, the largest over its processes.
record_programs() {
  local i pid
  for i in "${!started_pids[@]}"; do
    children_of "${started_pids[$i]}"
    for pid in "${started_pids[$i]}" "${children[@]}"; do
      program_of "$pid"
      [ -z "$program" ] || record "$1/$program.$3" "$pid" "$2"
    done
  done
}

measure_idle() { record_programs "$1" VmRSS idle; }

# Trainers come and go during the run: their high-water marks are looked at every second.
start_sampling() {
  (
    trap 'exit 0' TERM
    trap '' INT
    while :; do
      record_programs "$1" VmHWM peak
      sleep 1
    done
  ) &
  sampler_pid=$!
}
stop_sampling() {
  [ -z "$sampler_pid" ] || stop_pids 5 "$sampler_pid"
  sampler_pid=
}
measure_peak() {
  stop_sampling
  record_programs "$1" VmHWM peak
}

memory_value() { if [ -s "$1" ]; then cat "$1"; else echo null; fi; }
memory_json() {
  local program
  for program in coordinator agent trainer broker; do
    jq -n --arg program "$program" --argjson idle "$(memory_value "$1/$program.idle")" \
      --argjson peak "$(memory_value "$1/$program.peak")" \
      '{key: $program, value: {rss_idle_kb: $idle, rss_peak_kb: $peak}}'
  done | jq -s from_entries
}
