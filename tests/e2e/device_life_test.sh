#!/usr/bin/env bash
# The life of a device with the real programs: approved by hand, its certificate renewed over the session and, when it
# has expired, over HTTPS; labelled and configured from afar; cloned and quarantined; revoked, and back with a new key.
set -euo pipefail

source_dir=${1:?usage: device_life_test.sh SOURCE_DIR}
# shellcheck source=scripts/lib.sh
. "$source_dir/scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$source_dir/scripts/processes.sh"

bin=$source_dir/build/release/bin
folder=$(mktemp -d)
run_folder=$folder
mkdir -p "$folder/logs"
agent_pid=
clean_up() {
  local status=$?
  [ "$status" = 0 ] || tail -n 40 "$folder"/logs/*.log >&2 || true
  [ -z "$agent_pid" ] || stop_pids 10 "$agent_pid"
  stop_all
  [ -n "${KEEP:-}" ] || rm -rf "$folder"
}
trap clean_up EXIT
fail() {
  say "device life test: $*"
  exit 1
}

cat >"$folder/coordinator.toml" <<END
fleet = "life"
[state]
folder = "coordinator"
[api]
port = 0
[broker]
port = 0
[enrolment]
certificate_lifetime = "1m"  # beside the five minutes by which a certificate is dated back: due at once
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

configure_agent() { # NAME FOLDER
  cat >"$folder/$2.toml" <<END
device = "$1"
[state]
folder = "$2"
END
}
agent() { "$bin/flops-agent" --config "$folder/$1.toml" "${@:2}"; }
run_agent() { # FOLDER: sets agent_pid
  "$bin/flops-agent" run --config "$folder/$1.toml" >>"$folder/logs/$1.log" 2>&1 </dev/null &
  agent_pid=$!
}
field() { ctl -o json device show pi-1 | jq -r "$1"; }
is() { [ "$(field "$1")" = "$2" ]; }
serial() { openssl x509 -in "$folder/pi/identity/certificate.pem" -noout -serial; }

say "approved by hand"
configure_agent pi-1 pi
token=$(ctl token create --approve)
agent pi enroll --coordinator "$url" --token "$token" --no-wait >>"$folder/logs/enroll.log" 2>&1 && fail "it was let in at once"
[ "$(ctl -o json device list --state pending | jq -r '.devices[0].id')" = pi-1 ] || fail "it is not pending"
agent pi enroll --coordinator "$url" --token "$token" >>"$folder/logs/enroll.log" 2>&1 &
enrolling=$!
ctl device approve pi-1 >/dev/null
wait "$enrolling" || fail "the approved device could not enrol"

say "renewed over the session"
first=$(serial)
run_agent pi
wait_for "pi-1 online" 30 is .online true
renewed() { [ "$(serial)" != "$first" ]; }
wait_for "a new certificate" 30 renewed
grep -q "device pi-1 is offline" "$folder/logs/coordinator.log" && fail "the session had a gap"

say "labels and settings"
ctl device label pi-1 site=hall-3 >/dev/null
wait_for "the label" 30 is .labels.site hall-3
ctl device configure -l site=hall-3 --set conditions.max_temperature=70 --set log_level=debug >/dev/null
wait_for "the settings" 30 is '.configuration.version == .configuration.reported_version' true
is .configuration.problem "" || fail "good settings were refused"
ctl device configure pi-1 --set conditions.max_temperature=hot >/dev/null
complains() { [[ $(field .configuration.problem) == *max_temperature* ]]; }
wait_for "a complaint" 30 complains
ctl device configure pi-1 --unset conditions.max_temperature >/dev/null
wait_for "no complaint" 30 is .configuration.problem ""

say "what it tells of itself"
ctl device logs pi-1 >"$folder/told" || fail "no log lines"
grep -q "connected to the broker" "$folder/told" || fail "its log: $(cat "$folder/told")"
ctl device run-diag pi-1 >"$folder/diagnosis" || fail "no diagnosis"
grep -q "^good  *broker" "$folder/diagnosis" || fail "the diagnosis: $(cat "$folder/diagnosis")"
agent pi doctor >"$folder/doctor" 2>&1 || fail "the doctor: $(cat "$folder/doctor")"
agent pi diag --output "$folder" >"$folder/diag" 2>/dev/null || fail "no archive"
mkdir "$folder/unpacked"
tar -xzf "$(cat "$folder/diag")" -C "$folder/unpacked"
[ -s "$(echo "$folder"/unpacked/*/doctor.txt)" ] || fail "the archive has no findings"
! grep -rq "PRIVATE KEY" "$folder/unpacked" || fail "there is a key in the archive"

say "renewed over HTTPS, once it has expired"
stop_pids 10 "$agent_pid"
expired() { ! openssl x509 -in "$folder/pi/identity/certificate.pem" -noout -checkend 0 >/dev/null; }
wait_for "the certificate to expire" 90 expired
faketime=$(find /usr/lib -name libfaketime.so.1 -print -quit)
[ -n "$faketime" ] || fail "libfaketime is not installed"
LD_PRELOAD=$faketime FAKETIME='2020-01-01 00:00:00' "$bin/flops-agent" doctor --config "$folder/pi.toml" >"$folder/doctor" 2>&1 && fail "a wrong clock is no problem"
grep -q "^problem  *clock" "$folder/doctor" || fail "a wrong clock is not named: $(cat "$folder/doctor")"
run_agent pi
wait_for "pi-1 back" 90 is .online true
grep -q "the certificate is renewed, to" "$folder/logs/pi.log" || fail "it was not renewed over HTTPS"

say "cloned"
cp -a "$folder/pi" "$folder/clone"
rm -f "$folder/clone/lock"
configure_agent pi-1 clone
first_agent=$agent_pid
run_agent clone
wait_for "quarantine" 90 is .state quarantined
told() { grep -q "quarantined: two machines use" "$folder/logs/pi.log" "$folder/logs/clone.log"; }
wait_for "the device to say so" 90 told
stop_pids 10 "$agent_pid"
agent_pid=$first_agent

say "revoked"
wait_for "pi-1 online" 120 is .online true
begin=$(date +%s%N)
ctl device revoke pi-1 --reason "cloned" >/dev/null
cut() { grep -q "no connection to the broker: .*revoked" "$folder/logs/pi.log"; }
lost() { ! ss -tnp state established 2>/dev/null | grep -q "pid=$agent_pid,"; }
wait_for "the connection to end" 30 lost
say "cut off after $((($(date +%s%N) - begin) / 1000000)) ms"
# By itself it would try again after minutes: the link was taken over more than once.
stop_pids 10 "$agent_pid"
run_agent pi
wait_for "the broker to refuse it" 30 cut
agent pi doctor >"$folder/doctor" 2>&1 && fail "the doctor finds a revoked device well"
grep -q "^problem  *broker .*revoked" "$folder/doctor" || fail "the doctor: $(cat "$folder/doctor")"
ctl device approve pi-1 >/dev/null 2>&1 && fail "a revoked device was approved"
stop_pids 10 "$agent_pid"

say "back, with a new key"
token=$(ctl token create)
agent pi enroll --coordinator "$url" --token "$token" --new-key >>"$folder/logs/enroll.log" 2>&1 && fail "any token brings it back"
token=$(ctl token create --device pi-1)
agent pi enroll --coordinator "$url" --token "$token" >>"$folder/logs/enroll.log" 2>&1 && fail "its old key came back"
agent pi enroll --coordinator "$url" --token "$token" --new-key >>"$folder/logs/enroll.log" 2>&1 || fail "its new key is refused"
run_agent pi
wait_for "pi-1 back" 60 is .online true
is .labels.site hall-3 || fail "what is wanted of it was forgotten"

actions=$(ctl -o json audit --target pi-1 | jq -r '[.audit[].action] | unique | join(",")')
[ "$actions" = "accepted,configured,enrolled,enrolled with a new key,quarantined,revoked" ] || fail "audit: $actions"
say "device life test: passed"
