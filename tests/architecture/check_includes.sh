#!/usr/bin/env bash
# Checks that every #include is one that the target's CMakeLists.txt declares, and that programs for idle devices and
# operators are not linked to LibTorch (140 MB resident the moment it is loaded).
#
#   check_includes.sh SOURCE_DIR BUILD_DIR
#
# Reads BUILD_DIR/architecture.txt, written by cmake/FlopsTargets.cmake: kind|name|layer|dir|depends|foreign.
# Prints every violation as file:line: what, where it may be; exits 1 when there is one.
set -euo pipefail

source_dir=${1:?usage: check_includes.sh SOURCE_DIR BUILD_DIR}
build_dir=${2:?usage: check_includes.sh SOURCE_DIR BUILD_DIR}
build_dir=$(cd "$build_dir" && pwd)
cd "$source_dir"
declared=$build_dir/architecture.txt
[ -s "$declared" ] || { echo "$declared is missing: configure first" >&2; exit 2; }

# shellcheck disable=SC2016
rules='
function contains(list, name) { return index("," list ",", "," name ",") > 0 }
function foreign_of(include) {
  if (include ~ /^<(torch|ATen|c10|caffe2)\//) return "torch"
  if (include ~ /^<(mosquitto|mqtt_protocol)/) return "mosquitto"
  if (include ~ /^<boost\/beast/) return "beast"
  if (include ~ /^<boost\/asio/) return "asio"
  if (include ~ /^<boost\/json/) return "json"
  if (include ~ /^<sqlite3/) return "sqlite"
  if (include ~ /^<openssl\//) return "openssl"
  if (include ~ /^<zstd/) return "zstd"
  if (include ~ /^<toml\+\+\//) return "toml"
  if (include ~ /^<spdlog\//) return "spdlog"
  if (include ~ /^<fmt\//) return "fmt"
  if (include ~ /^<CLI\//) return "cli11"
  if (include ~ /^<zlib\.h>/) return "zlib"
  if (include ~ /^<seccomp\.h>/) return "seccomp"
  if (include ~ /^<doctest/) return "doctest"
  return ""
}
function complain(text) { print file ":" line ": " text; bad = 1 }
BEGIN { torch_places = "^(models|agent/flops_trainer|agent/flops_serve)/" }
FILENAME == headers {  # DIR/include/flops/FOLDER
  dir = $0; sub(/\/include\/flops\/[^\/]*$/, "", dir)
  folder = $0; sub(/.*\//, "", folder)
  home[folder] = dir
  next
}
FILENAME == declared {
  if (split($0, part, "|") == 6) {
    dir = part[4]
    names[dir] = names[dir] "," part[2]
    depends[dir] = depends[dir] "," part[5]
    foreign[dir] = foreign[dir] "," part[6]
  }
  next
}
{
  file = $0; sub(/:.*/, "", file)
  rest = substr($0, length(file) + 2)
  line = rest; sub(/:.*/, "", line)
  include = rest; sub(/^[0-9]+:[ \t]*#[ \t]*include[ \t]*/, "", include)
  owner = ""
  for (dir in names) if (index(file, dir "/") == 1 && length(dir) > length(owner)) owner = dir
  if (owner == "") next
  if (match(include, /^["<]flops\/[a-z0-9_]+\//)) {
    folder = substr(include, 8, RLENGTH - 8)
    library = substr(names[home[folder]], 2)
    if (library == "")
      complain("includes flops/" folder "/, which no library has")
    else if (home[folder] != owner && !contains(depends[owner], library))
      complain("includes flops/" folder "/, but " owner "/CMakeLists.txt does not declare DEPENDS " library)
    next
  }
  needed = foreign_of(include)
  if (needed == "") next
  if (needed == "torch" && file !~ torch_places)
    complain("includes LibTorch; only models/ and the programs that train or serve may")
  else if (needed == "fmt" && contains(depends[owner], "core"))
    next  # part of the public interface of core
  else if (!contains(foreign[owner], needed))
    complain("includes " include ", but " owner "/CMakeLists.txt does not declare FOREIGN " needed)
}
END { exit bad }
'

status=0
folders=()
for folder in common models agent coordinator cli; do
  [ -d "$folder" ] && folders+=("$folder")
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
includes=$work/includes
headers=$work/headers
find "${folders[@]}" -path '*/include/flops/*' -prune -type d >"$headers"
grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.cpp' --include='*.hpp' "${folders[@]}" >"$includes"
awk -v declared="$declared" -v headers="$headers" "$rules" "$declared" "$headers" "$includes" || status=1

for program in flops-agent flops-site flops-coordinator flopsctl; do
  binary=$build_dir/bin/$program
  [ -x "$binary" ] || continue
  if { readelf -d "$binary"; ldd "$binary" 2>/dev/null || true; } | grep -E 'lib(torch|c10|caffe2)' >/dev/null; then
    echo "$binary: is linked to LibTorch; it must not be, directly or through another library"
    status=1
  fi
done
exit "$status"
