#!/usr/bin/env bash
# The life of the packages on a fresh Debian 12: installed, two devices enrolled with the command that the installation
# prints, upgraded in the middle of a training run, removed, purged. Programs run as their units say: user, command
# line, system-call filter. Needs root; fetches the Debian system when it runs for the first time.
#
#   tests/packaging/lifecycle.sh BUILD_DIR      a build folder with the programs and bin/tests/unit_filter
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=scripts/processes.sh
. "$ROOT/scripts/processes.sh"

skip() {
  say "skipped: $*"
  exit 77
}
build=$(cd "${1:?usage: lifecycle.sh BUILD_DIR}" && pwd)
[ "$(id -u)" -eq 0 ] || skip "only root can make a Debian system"
for tool in mmdebstrap dh unshare setpriv jq systemd-analyze; do
  command -v "$tool" >/dev/null || skip "$tool is missing: run scripts/setup.sh"
done

cache=$ROOT/build/lifecycle
stage=${2:-outside}
packages=(flops-agent flops-trainer flops-coordinator flopsctl)
rounds=5

# --- outside: packages, and a system with what they depend on -----------------------------------------------------------
dependencies() { # the first of alternatives, without versions
  local package
  for package in "$cache"/this/*.deb; do
    dpkg-deb -f "$package" Depends
  done | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/[[:space:]]//g' | grep -v '^flops' | sort -u
  echo dataset-fashion-mnist # what is trained on
}

if [ "$stage" = outside ]; then
  rm -rf "$cache/this" "$cache/next" "$cache/next-configuration"
  mkdir -p "$cache"
  "$ROOT/scripts/package.sh" --from "$build" --output "$cache/this" >&2
  # The next version ships other configuration files.
  cp -R "$ROOT/packaging/conf" "$cache/next-configuration"
  for file in "$cache"/next-configuration/*.toml; do
    echo '# Another line of the next version.' >>"$file"
  done
  "$ROOT/scripts/package.sh" --from "$build" --output "$cache/next" --version 0.9.0 \
    --configuration "$cache/next-configuration" >&2
  wanted=$(dependencies | paste -sd,)
  tar=$cache/debian-$(sha256sum <<<"$wanted" | cut -c1-16).tar
  # Of earlier dependencies: not needed any more.
  find "$cache" -maxdepth 1 -name 'debian-*.tar' ! -name "$(basename "$tar")" -delete
  if [ ! -s "$tar" ]; then
    say "Fetching Debian 12 and what the packages depend on..."
    mmdebstrap --quiet --variant=minbase --include="$wanted" bookworm "${tar%.tar}.new.tar" </dev/null >&2 ||
      skip "Debian could not be fetched"
    mv "${tar%.tar}.new.tar" "$tar"
  fi
  rm -rf "$cache/root"
  mkdir "$cache/root"
  tar -xpf "$tar" -C "$cache/root"
  # Namespaces of its own: mounts, host name, network, and processes, which all end with the script.
  unshare --mount --uts --net --pid --fork --kill-child --mount-proc bash "${BASH_SOURCE[0]}" "$build" inside &
  inside=$!
  # unshare heeds nothing less; what it holds ends with it.
  trap 'kill -KILL "$inside" 2>/dev/null || true' EXIT
  trap 'exit 143' INT TERM
  status=0
  wait "$inside" || status=$?
  [ "$status" -ne 0 ] || rm -rf "$cache/root"
  exit "$status"
fi

# --- inside ---------------------------------------------------------------------------------------------------------------
root=$cache/root
run_folder=$cache/run
rm -rf "$run_folder"
mkdir -p "$run_folder/logs"
trap 'stop_all' EXIT
ip link set lo up
hostname Edge-1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
# Nothing is started by the installation: there is no service manager here.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"

fail() { die "lifecycle: $*"; }
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
apt() { in_root apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }
ctl() {
  in_root flopsctl --coordinator https://127.0.0.1:8443 --ca /var/lib/flops-coordinator/ca.pem \
    --token-file /var/lib/flops-coordinator/admin.token "$@"
}
# Everything but what is mounted, what the test itself puts there, and the package manager's own records.
list_files() {
  (cd "$root" && find . -xdev \( -path ./srv -o -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log \) -prune -o -print) | sort
}
debs=() # in the root
copy_packages() { # folder of packages: sets debs
  rm -rf "$root/srv/packages"
  mkdir -p "$root/srv/packages"
  cp "$1"/*.deb "$root/srv/packages"
  debs=("$root"/srv/packages/*.deb)
  debs=("${debs[@]#"$root"}")
}

# --- units without systemd ------------------------------------------------------------------------------------------------
unit_values() { sed -n "s/^$2=//p" "$root/lib/systemd/system/$1.service"; }
expand_calls() { # the names in a SystemCallFilter=, sets taken apart
  local name
  for name in "$@"; do
    case $name in
      @*) # shellcheck disable=SC2046
        expand_calls $(systemd-analyze syscall-filter "$name" | sed -n 's/^  *\([a-z@][^ ]*\)$/\1/p') ;;
      *) echo "$name" ;;
    esac
  done
}
allowed_calls() { # unit
  local line allowed='' denied=''
  while read -r line; do
    case $line in
      '~'*) denied+=" ${line#\~}" ;;
      *) allowed+=" $line" ;;
    esac
  done < <(unit_values "$1" SystemCallFilter)
  # shellcheck disable=SC2086
  comm -23 <(expand_calls $allowed | sort -u) <(expand_calls $denied | sort -u)
}
# start_unit NAME UNIT [CONFIGURATION]: as systemd would, with another configuration file instead of the unit's.
start_unit() {
  local name=$1 unit=$2 user group line words
  user=$(unit_values "$unit" User)
  group=$(unit_values "$unit" Group)
  line=$(unit_values "$unit" ExecStart)
  read -ra words <<<"${line/\/etc\/flops-agent\/agent.toml/${3:-/etc/flops-agent/agent.toml}}"
  start "$name" "$run_folder/logs/$name.log" chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
    /srv/unit_filter "/srv/$unit.calls" "$(unit_values "$unit" MemoryDenyWriteExecute)" "${words[@]}"
}
stop_unit() { # name
  local i
  for i in "${!started_names[@]}"; do
    if [ "${started_names[$i]}" = "$1" ]; then
      stop_pids 30 "${started_pids[$i]}"
      unset "started_names[$i]" "started_pids[$i]"
    fi
  done
  started_names=("${started_names[@]}") started_pids=("${started_pids[@]}")
}
start_second() { start_unit edge-2 flops-agent /etc/flops-agent/second.toml; }
stop_services() {
  stop_unit edge-1
  stop_unit edge-2
  stop_unit coordinator
}

# --- installation -----------------------------------------------------------------------------------------------------------
say "== install"
list_files >"$run_folder/before"
cp "$build/bin/tests/unit_filter" "$root/srv/unit_filter"
copy_packages "$cache/this"
apt install "${debs[@]}" >"$run_folder/install.log" 2>&1 || { tail -n 30 "$run_folder/install.log"; fail "apt-get install"; }
for unit in flops-agent flops-coordinator; do
  [ -L "$root/etc/systemd/system/multi-user.target.wants/$unit.service" ] || fail "$unit.service is not enabled"
  allowed_calls "$unit" >"$root/srv/$unit.calls"
  [ "$(stat -c '%a %u' "$root/var/lib/$unit")" = "700 $(in_root id -u "$unit")" ] ||
    fail "/var/lib/$unit is not the service's alone"
done
[ -L "$root/etc/systemd/system/paths.target.wants/flops-agent.path" ] || fail "flops-agent.path is not enabled"
enrol_command=$(sed -n 's/^ *\(flops-agent enroll .*\)/\1/p' "$run_folder/install.log")
[ -n "$enrol_command" ] || fail "the installation does not say how to enrol: $(cat "$run_folder/install.log")"
in_root flops-agent --check-config || fail "the agent's configuration file is wrong"
in_root flops-coordinator --check-config || fail "the coordinator's configuration file is wrong"
# Its examples are correct too.
for program in agent coordinator; do
  sed 's/^#\([a-z[]\)/\1/' "$root/etc/flops-$program/$program.toml" >"$root/srv/examples.toml"
  in_root "flops-$program" --check-config --config /srv/examples.toml || fail "the examples in $program.toml are wrong"
done
status=0
in_root flops-agent run >/dev/null 2>&1 || status=$?
[ "$status" -eq 77 ] || fail "an agent that is not enrolled exits with $status instead of 77"
for name in flops-agent flops-coordinator flopsctl; do
  in_root test -s "/usr/share/man/man1/$name.1.gz" || fail "no man page of $name"
done
! grep -q 1883 "$root/etc/flops-coordinator/coordinator.toml" || fail "the system's broker is in our configuration"
cmp "$root/etc/mosquitto/mosquitto.conf" <(tar -xOf "$(echo "$cache"/debian-*.tar)" ./etc/mosquitto/mosquitto.conf) ||
  fail "the system's broker has another configuration than before"

# --- configuration, data, enrolment -----------------------------------------------------------------------------------------
say "== enrol"
echo 'fleet = "lifecycle"' >>"$root/etc/flops-coordinator/coordinator.toml"
in_root flopsctl dataset partition --source fashion-mnist --devices 2 --seed 1 --out /srv/data --prefix edge- >/dev/null
dataset_lines() { # device
  # Not in the background: other work on this machine would hold it up for as long as it lasts.
  printf '[trainer]\nthreads = 1\nbackground = false\n[[dataset]]\ntag = "fashion-mnist"\nformat = "idx"\n'
  printf '%s = "/srv/data/%s/%s"\n' train_samples "$1" train-images.idx3-ubyte train_labels "$1" train-labels.idx1-ubyte \
    test_samples "$1" test-images.idx3-ubyte test_labels "$1" test-labels.idx1-ubyte
}
# The first device is called like its host. The second shares it: a configuration and a state of its own.
dataset_lines edge-1 >>"$root/etc/flops-agent/agent.toml"
{
  printf 'device = "edge-2"\n[state]\nfolder = "/srv/edge-2"\n'
  dataset_lines edge-2
} >"$root/etc/flops-agent/second.toml"
in_root install -d -m 0700 -o flops-agent -g flops-agent /srv/edge-2
start_unit coordinator flops-coordinator
coordinator_ready() { ctl device list >/dev/null 2>&1; }
wait_for "the coordinator" 60 coordinator_ready
token=$(ctl token create --uses 2 2>/dev/null)
enrol_command=${enrol_command/HOST/127.0.0.1}
read -ra words <<<"${enrol_command/TOKEN/$token}"
in_root "${words[@]}" || fail "the command that the installation prints does not work: ${words[*]}"
in_root "${words[@]}" --config /etc/flops-agent/second.toml || fail "the second device could not enrol"
agent_uid=$(in_root id -u flops-agent)
others=$(find "$root/var/lib/flops-agent" "$root/srv/edge-2" ! -uid "$agent_uid")
[ -z "$others" ] || fail "root's enrolment left files that are not the service's: $others"
in_root flops-agent status >"$run_folder/status" || fail "flops-agent status"
grep -q 'edge-1 in fleet lifecycle' "$run_folder/status" || fail "the device is not called like its host: $(cat "$run_folder/status")"
start_unit edge-1 flops-agent
start_second
online() { [ "$(ctl device list -o json | jq '[.devices[] | select(.online and (.datasets | length) > 0)] | length')" -eq 2 ]; }
wait_for "both devices" 60 online

# --- a run, and an upgrade in the middle of it --------------------------------------------------------------------------------
start_run() {
  ctl run start --model cnn-small --data fashion-mnist --rounds "$rounds" --steps 10 --batch 32 --lr 0.03 --seed 3 \
    --min-fit 2 --min-available 2 -o json | jq -r .id
}
rounds_done() { ctl run show "$1" -o json | jq '[.rounds[] | select(.round >= 1 and .accuracy != null)] | length'; }
run_state() { ctl run show "$1" -o json | jq -r .state; }
round_passed() { [ "$(rounds_done "$1")" -ge "$2" ]; }
ended() { case $(run_state "$1") in finished | failed | stopped) ;; *) return 1 ;; esac; }
check_run() { # id
  ctl run show "$1" -o json >"$run_folder/$1.json"
  jq -e --argjson rounds "$rounds" '.state == "finished" and ([.rounds[] | select(.round >= 1)] |
    length == $rounds and all(.participants == 2))' "$run_folder/$1.json" >/dev/null ||
    fail "run $1 lost something: $(cat "$run_folder/$1.json")"
}

say "== upgrade in the middle of a run"
run=$(start_run)
wait_for "round 2" 180 round_passed "$run" 2
cp "$root/etc/flops-agent/agent.toml" "$run_folder/agent.toml"
cp "$root/etc/flops-coordinator/coordinator.toml" "$run_folder/coordinator.toml"
copy_packages "$cache/next"
# One device is away meanwhile, so that the run is not over before the packages are replaced, however fast the machine.
stop_unit edge-2
apt -o Dpkg::Options::=--force-confold install "${debs[@]}" >"$run_folder/upgrade.log" 2>&1 ||
  { tail -n 30 "$run_folder/upgrade.log"; fail "apt-get install of the next version"; }
[ "$(run_state "$run")" = running ] || fail "the run was over before the upgrade: $(run_state "$run")"
# Where there is a service manager the packages do this: deb-systemd-invoke restart.
for unit in flops-agent flops-coordinator; do
  grep -q "deb-systemd-invoke .*'$unit.service'" "$root/var/lib/dpkg/info/$unit.postinst" || fail "$unit is not restarted by an upgrade"
done
stop_services
start_unit coordinator flops-coordinator
start_unit edge-1 flops-agent
start_second
wait_for "the coordinator of the next version" 60 coordinator_ready
say "   replaced after $(rounds_done "$run") of $rounds rounds"
! grep -q 'not enrolled\|belongs to no fleet' "$run_folder/upgrade.log" || fail "the upgrade asks an enrolled device to enrol"
in_root dpkg-query -W flops-agent | grep -q '[[:space:]]0\.9\.0-1$' || fail "the next version is not installed"
for file in agent coordinator; do
  cmp "$run_folder/$file.toml" "$root/etc/flops-$file/$file.toml" || fail "the upgrade changed $file.toml"
done
wait_for "the end of the run" 600 ended "$run"
check_run "$run"
# An undisturbed run of the same seed makes the same model, to the bit.
again=$(start_run)
wait_for "the end of the second run" 600 ended "$again"
check_run "$again"
digest() { jq -r .model_digest "$run_folder/$1.json"; }
[[ $(digest "$run") =~ ^[0-9a-f]{64}$ && $(digest "$run") = "$(digest "$again")" ]] ||
  fail "the run that was upgraded made another model than an undisturbed one"

# --- removal ------------------------------------------------------------------------------------------------------------------
say "== remove and purge"
stop_services
apt remove "${packages[@]}" >"$run_folder/remove.log" 2>&1 || fail "apt-get remove: $(cat "$run_folder/remove.log")"
for kept in /var/lib/flops-agent/identity/key.pem /var/lib/flops-agent/agent.db /var/lib/flops-coordinator/coordinator.db \
  /etc/flops-agent/agent.toml /etc/flops-coordinator/coordinator.toml; do
  [ -s "$root$kept" ] || fail "removing the packages removed $kept"
done
for gone in /usr/bin/flops-agent /usr/bin/flops-coordinator /usr/bin/flopsctl /usr/libexec/flops-edge; do
  [ ! -e "$root$gone" ] || fail "removing the packages left $gone"
done
rm "$root/etc/flops-agent/second.toml" # the test's own
apt purge "${packages[@]}" >"$run_folder/purge.log" 2>&1 || fail "apt-get purge: $(cat "$run_folder/purge.log")"
list_files >"$run_folder/after"
comm -13 "$run_folder/before" "$run_folder/after" >"$run_folder/left"
comm -23 "$run_folder/before" "$run_folder/after" >"$run_folder/missing"
# useradd keeps the last version of what it changes.
grep -vE '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)-$' "$run_folder/left" >"$run_folder/left-over" || true
[ ! -s "$run_folder/left-over" ] || fail "purging the packages left: $(cat "$run_folder/left-over")"
[ ! -s "$run_folder/missing" ] || fail "purging the packages took: $(cat "$run_folder/missing")"
in_root getent passwd flops-agent >/dev/null || fail "purging the packages removed the user"
say "lifecycle: passed"
