#!/usr/bin/env bash
# check_includes.sh on made-up files: it must find each planted violation, and nothing else.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
source_dir=$folder/source
build_dir=$folder/build
mkdir -p "$source_dir"/{common/low,common/high/src,models/src,cli/part} "$build_dir/bin" \
  "$source_dir"/{common/low/include/flops/low,common/high/include/flops/high,cli/part/include/flops/part}

cat >"$build_dir/architecture.txt" <<'EOF'
library|core|0|common/core||fmt
library|low|1|common/low||sqlite,
library|high|2|common/high|core,low|,json
library|models|3|models|low|torch
library|part|3|cli/part|low|
program|tool|100|cli|high,part|cli11
EOF

fail() {
  echo "self-test: $*" >&2
  exit 1
}
check() { bash "$here/check_includes.sh" "$source_dir" "$build_dir"; }

cat >"$source_dir/common/low/low.cpp" <<'EOF'
#include "flops/low/low.hpp"
#include <sqlite3.h>
#include <vector>
EOF
cat >"$source_dir/common/high/src/high.cpp" <<'EOF'
#include "flops/low/low.hpp"
#include <boost/json/value.hpp>
#include <fmt/format.h>
EOF
echo '#include <torch/torch.h>' >"$source_dir/models/src/model.cpp"
echo '#include "flops/low/low.hpp"' >"$source_dir/cli/part/part.cpp"
printf '#include <CLI/CLI.hpp>\n#include "flops/part/part.hpp"\n' >"$source_dir/cli/tool.cpp"
output=$(check) || fail "clean files were refused: $output"

# file, line that is planted, what must be said
plant() {
  local file=$source_dir/$1 number output
  cp "$file" "$folder/kept"
  printf '%s\n' "$2" >>"$file"
  number=$(wc -l <"$file")
  if output=$(check); then
    fail "$1: '$2' was not found"
  fi
  grep -qF "$1:$number: " <<<"$output" || fail "$1: '$2' was reported without its place: $output"
  grep -qF -- "$3" <<<"$output" || fail "$1: '$2' was reported as: $output"
  [ "$(wc -l <<<"$output")" -eq 1 ] || fail "$1: '$2' had other reports beside it: $output"
  cp "$folder/kept" "$file"
}

plant common/low/low.cpp '#include "flops/high/high.hpp"' 'DEPENDS high'
plant common/low/low.cpp '  #  include <flops/high/high.hpp>' 'DEPENDS high'
plant common/low/low.cpp '#include "flops/lost/lost.hpp"' 'which no library has'
plant common/low/low.cpp '#include <fmt/format.h>' 'FOREIGN fmt'
plant common/low/low.cpp '#include <toml++/toml.h>' 'FOREIGN toml'
plant common/low/low.cpp '#include <boost/beast/http.hpp>' 'FOREIGN beast'
plant common/low/low.cpp '#include <boost/asio/io_context.hpp>' 'FOREIGN asio'
plant common/low/low.cpp '#include <mosquitto.h>' 'FOREIGN mosquitto'
plant common/low/low.cpp '#include <mqtt_protocol.h>' 'FOREIGN mosquitto'
plant common/low/low.cpp '#include <openssl/evp.h>' 'FOREIGN openssl'
plant common/low/low.cpp '#include <spdlog/spdlog.h>' 'FOREIGN spdlog'
plant common/low/low.cpp '#include <seccomp.h>' 'FOREIGN seccomp'
plant common/high/src/high.cpp '#include <sqlite3.h>' 'FOREIGN sqlite'
plant common/high/src/high.cpp '#include <zstd.h>' 'FOREIGN zstd'
plant common/high/src/high.cpp '#include <zlib.h>' 'FOREIGN zlib'
plant common/high/src/high.cpp '#include <ATen/ATen.h>' 'LibTorch'
plant cli/tool.cpp '#include "flops/low/low.hpp"' 'DEPENDS low'
plant cli/part/part.cpp '#include <CLI/CLI.hpp>' 'FOREIGN cli11'
plant models/src/model.cpp '#include <boost/json.hpp>' 'FOREIGN json'

check >/dev/null || fail "the files were not put back"
echo "self-test: passed"
