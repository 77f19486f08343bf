#!/usr/bin/env bash
# Man pages and completions of the programs, given to those who read them: man, bash, zsh, fish.
#
#   tests/packaging/completions.sh FOLDER_OF_PROGRAMS
set -euo pipefail

bin=$(cd "${1:?usage: completions.sh FOLDER_OF_PROGRAMS}" && pwd)
for tool in man zsh fish shellcheck; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is missing: run scripts/setup.sh"; exit 77; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PATH=$bin:$PATH HOME=$folder XDG_CONFIG_HOME=$folder XDG_DATA_HOME=$folder

fail() {
  echo "completions test: $*" >&2
  exit 1
}
# what, found lines, then lines that must be among them; a line that begins with ! must not
expect() {
  local what=$1 found=$2 line
  shift 2
  for line in "$@"; do
    if [ "${line#!}" = "$line" ]; then
      grep -qxF -- "$line" <<<"$found" || fail "$what: '$line' is not offered, but: $found"
    elif grep -qxF -- "${line#!}" <<<"$found"; then
      fail "$what: '${line#!}' is offered"
    fi
  done
}

for program in flops-agent flops-coordinator flopsctl; do
  "$program" man-page >"$folder/$program.1"
  warnings=$(MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$folder/$program.1" 2>&1 >/dev/null)
  [ -z "$warnings" ] || fail "man page of $program: $warnings"
  page=$(MANWIDTH=100 man -l "$folder/$program.1" | cat)
  for heading in NAME SYNOPSIS OPTIONS FILES 'EXIT STATUS' 'SEE ALSO'; do
    grep -q "^$heading" <<<"$page" || fail "man page of $program: no $heading"
  done
  lexgrog "$folder/$program.1" >/dev/null || fail "man page of $program: apropos cannot read it"
  for shell in bash zsh fish; do
    "$program" completion "$shell" >"$folder/$program.$shell"
    "$shell" -n "$folder/$program.$shell" || fail "$program: $shell does not understand its completion"
  done
  shellcheck "$folder/$program.bash" || fail "$program: completion for bash"
done

in_bash() { # words of the command line; the last one is completed
  bash --norc -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); complete -p "$1" >/dev/null
    compopt() { :; }  # only inside of a completion
    function=$(complete -p "$1" | sed "s/.*-F \([^ ]*\).*/\1/"); "$function"; printf "%s\n" "${COMPREPLY[@]}"' \
    bash "$folder/$1.bash" "$@"
}
in_fish() { # command line
  fish --no-config -c "source '$folder/${1%% *}.fish'; complete -C '$1'" 2>"$folder/said" | cut -f1
  cat "$folder/said" # what is said there is none of the offers
}

expect bash "$(in_bash flopsctl '')" run token --coordinator completion '!man-page' '!start'
expect bash "$(in_bash flopsctl run st)" start stop '!list'
expect bash "$(in_bash flopsctl --config run to)" token
expect bash "$(in_bash flopsctl run start --opt)" --optimizer
expect bash "$(in_bash flopsctl run start --optimizer '')" sgd adam '!--model'
expect bash "$(in_bash flopsctl run start --optimizer = a)" adam '!sgd'
expect bash "$(in_bash flopsctl completion '')" bash zsh fish
expect bash "$(cd "$folder" && in_bash flops-agent enroll --config flops-agent.b)" flops-agent.bash
expect bash "$(in_bash flops-agent enroll --)" --token --config '!--uses'
expect bash "$(in_bash flops-coordinator --check)" --check-config
expect bash "$(in_bash flops-agent --check-config en)" enroll

expect fish "$(in_fish 'flopsctl ')" run token completion '!man-page' '!start'
expect fish "$(in_fish 'flopsctl run st')" start stop '!list'
expect fish "$(in_fish 'flopsctl --config run to')" token
expect fish "$(in_fish 'flopsctl run start --optimizer ')" sgd adam
expect fish "$(in_fish 'flopsctl run start --opt')" --optimizer
expect fish "$(in_fish 'flops-agent enroll --')" --token --config '!--uses'
expect fish "$(in_fish 'flops-agent completion ')" bash zsh fish
expect fish "$(in_fish 'flops-agent --check-config en')" enroll
[ ! -s "$folder/said" ] || fail "fish: $(cat "$folder/said")"

# zsh completes only in a terminal: in one of its own it lists what it would insert.
in_zsh() { # command line
  cat >"$folder/ask.zsh" <<'END'
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "PROMPT=; autoload -U compinit; compinit -u -D; source $1; unsetopt zle_bracketed_paste 2>/dev/null"
zpty -w shell 'zstyle ":completion:*" list-prompt ""; LISTMAX=1000; COLUMNS=200'
zpty -w shell 'show() { local -a said; compstate[list]= compstate[insert]=; }'
zpty -w shell 'compadd() { local -a found; builtin compadd -O found "$@"; (( $#found )) && print -rl -- OFFERED:${^found} >>$FOUND; builtin compadd "$@" }'
zpty -w shell 'print READY'
zpty -r -m shell text '*READY*'
zpty -n -w shell "$2"$'\t\t'
repeat 50; do sleep 0.1; [[ -s $FOUND ]] && break; done
sleep 0.5
zpty -d shell
END
  : >"$folder/found"
  FOUND=$folder/found zsh -f "$folder/ask.zsh" "$folder/${1%% *}.zsh" "$1" >/dev/null 2>&1
  sed -n 's/^OFFERED://p' "$folder/found"
}
expect zsh "$(in_zsh 'flopsctl run st')" start stop '!list'
expect zsh "$(in_zsh 'flopsctl run start --optimizer ')" sgd adam '!start'
echo "completions: passed"
