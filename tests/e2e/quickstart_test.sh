#!/usr/bin/env bash
# scripts/quickstart.sh from end to end, small: the promised document comes out, the same seed gives the same model, an
# interrupted one stops everything, and nothing is left running.
set -euo pipefail

source_dir=${1:?usage: quickstart_test.sh SOURCE_DIR}
folder=$(mktemp -d)
script_pid=
clean_up() {
  [ -z "$script_pid" ] || kill -KILL "$script_pid" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT

fail() {
  echo "quickstart test: $*" >&2
  exit 1
}
quickstart() { "$source_dir/scripts/quickstart.sh" --no-install --dir "$folder/runs" "$@"; }
# Processes of the product whose command line names our folder.
left_running() {
  local entry
  for entry in /proc/[0-9]*/cmdline; do
    # A process may end while it is looked at.
    if { tr '\0' ' ' <"$entry"; } 2>/dev/null | grep -E '^[^ ]*(flops-|mosquitto)' | grep -F "$folder/runs"; then
      return 0
    fi
  done
  return 1
}
# what, jq expression over the document
expect() { jq -e "$2" "$folder/$1.json" >/dev/null || fail "$1: not so: $2; the document: $(cat "$folder/$1.json")"; }

for name in one two; do
  quickstart --devices 3 --rounds 2 --model softmax --partition shards:4 --seed 7 --json "$folder/$name.json" >"$folder/$name.log" 2>&1 ||
    fail "the script failed: $(tail -n 40 "$folder/$name.log")"
  ! left_running || fail "something is still running"
  expect "$name" '[.rounds[].round] == [1, 2]'
  expect "$name" 'all(.rounds[]; .participants == 3 and .bytes_up > 0 and .bytes_down > 0 and .seconds > 0 and
                                 .train_seconds_max > 0 and .accuracy > 0.3 and .loss > 0)'
  expect "$name" '.accuracy == .rounds[-1].accuracy and (.model_digest | length) == 64'
  expect "$name" '.programs | all(.coordinator, .agent, .broker; .rss_idle_kb > 0 and .rss_peak_kb >= .rss_idle_kb)'
  expect "$name" '.programs.trainer.rss_peak_kb > 0'
  [ -s "$(jq -r .model_path "$folder/$name.json")" ] || fail "the model is not where the document says"
  ! grep -q "$(printf '\033')" "$folder/$name.log" || fail "colour or cursor movement off a terminal"
done
[ "$(jq -r .model_digest "$folder/one.json")" = "$(jq -r .model_digest "$folder/two.json")" ] ||
  fail "the same seed gave two models"

# Virtual learners of the same names, data and seed make the same model.
cat >"$folder/project.toml" <<END
[run]
model = "softmax"
rounds = 2
seed = 7
min_fit = 3
[training]
batch = 32
learning_rate = 0.03
momentum = 0.9
[data]
folder = "/usr/share/datasets/fashion-mnist"
partition = "shards:4"
learners = 3
END
"$source_dir/build/release/bin/flops-sim" run "$folder/project.toml" --quiet --json "$folder/simulated.json" ||
  fail "the simulation failed"
[ "$(jq -r .model_digest "$folder/one.json")" = "$(jq -r .model_digest "$folder/simulated.json")" ] ||
  fail "real and virtual learners made different models"
jq -e --slurpfile real "$folder/one.json" '($real[0].rounds | map([.bytes_up, .bytes_down])) == (.rounds | map([.bytes_up, .bytes_down]))' \
  "$folder/simulated.json" >/dev/null || fail "real and virtual learners sent different numbers of bytes"

# Clusters, in one coordinator or with one each: with one round a cycle the model is that of the flat fleet, bit for bit.
for topology in flat grouped:2 sites:2; do
  quickstart --devices 4 --cycles 2 --rounds 1 --model softmax --seed 5 --topology "$topology" --json "$folder/$topology.json" \
    >"$folder/$topology.log" 2>&1 || fail "$topology: the script failed: $(tail -n 40 "$folder/$topology.log")"
  ! left_running || fail "$topology: something is still running"
  expect "$topology" '[.rounds[].round] == [1, 2] and all(.rounds[]; .bytes_up > 0 and .accuracy > 0.3)'
done
for topology in flat grouped:2; do
  expect "$topology" '.levels[0].level == 1 and .levels[0].bytes_up == ([.rounds[].bytes_up] | add)'
done
expect sites:2 '.levels[1].level == 2 and .levels[1].bytes_up == ([.rounds[].bytes_up] | add) and .levels[0].bytes_up > 0'
expect grouped:2 '.levels[1] == {level: 2, bytes_up: 0, bytes_down: 0} and all(.rounds[]; .participants == 2)'
[ "$(jq -r .model_digest "$folder/flat.json")" = "$(jq -r .model_digest "$folder/grouped:2.json")" ] ||
  fail "flat and grouped fleets made different models"
[ "$(jq -r .model_digest "$folder/flat.json")" = "$(jq -r .model_digest "$folder/sites:2.json")" ] ||
  fail "a flat fleet and sites made different models"

# So it is when sites have sites below them, whose sums are summed up on the way.
quickstart --devices 4 --cycles 2 --rounds 1 --model softmax --seed 5 --topology sites:1x2 --json "$folder/deep.json" >"$folder/deep.log" 2>&1 ||
  fail "sites:1x2: the script failed: $(tail -n 40 "$folder/deep.log")"
! left_running || fail "sites:1x2: something is still running"
expect deep '[.levels[].level] == [1, 2, 3] and all(.levels[]; .bytes_up > 0) and .levels[2].bytes_up < .levels[1].bytes_up'
[ "$(jq -r .model_digest "$folder/flat.json")" = "$(jq -r .model_digest "$folder/deep.json")" ] ||
  fail "a flat fleet and sites of sites made different models"

timeout 120 "$source_dir/scripts/quickstart.sh" --no-install --dir "$folder/runs" --devices 1 --rounds 3 --model softmax \
  --json "$folder/alone.json" >"$folder/alone.log" 2>&1 ||
  fail "with one device: $(tail -n 40 "$folder/alone.log")"
expect alone '[.rounds[].participants] == [1, 1, 1]'

while read -r signal expected; do
  # Without job control a background process ignores SIGINT; env gives it back, as on a terminal.
  env --default-signal=INT "$source_dir/scripts/quickstart.sh" --no-install --dir "$folder/runs" --devices 2 --rounds 1000 \
    --model softmax >"$folder/$signal.log" 2>&1 &
  script_pid=$!
  for ((i = 0; i < 1200; i++)); do
    ! grep -q '^ROUND' "$folder/$signal.log" || break
    kill -0 "$script_pid" 2>/dev/null || fail "the script ended early: $(tail -n 40 "$folder/$signal.log")"
    sleep 0.1
  done
  grep -q '^ROUND' "$folder/$signal.log" || fail "no round in time: $(tail -n 40 "$folder/$signal.log")"
  kill "-$signal" "$script_pid"
  status=0
  wait "$script_pid" || status=$?
  script_pid=
  [ "$status" -eq "$expected" ] ||
    fail "SIG$signal: the script exited with $status"
  ! left_running || fail "SIG$signal: something is still running"
done <<<$'INT 130\nTERM 143'

status=0
quickstart --devices none >/dev/null 2>"$folder/usage.log" || status=$?
[ "$status" -eq 2 ] || fail "wrong usage exited with $status"
grep -q "'none' is not a positive number" "$folder/usage.log" || fail "wrong usage was not explained"
status=0
quickstart --topology sites:9 >/dev/null 2>"$folder/sites.log" || status=$?
[ "$status" -eq 2 ] || fail "more sites than devices exited with $status"
grep -q "more clusters than devices" "$folder/sites.log" || fail "more sites than devices were not explained"
echo "quickstart test: passed"
