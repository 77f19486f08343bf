#!/usr/bin/env bash
# Unpacks the data sets of the papers into a folder.
#
#   bench/papers/data.sh SOURCE TARGET
#
# SOURCE holds mnist/*.zst (the four IDX files) and heart_disease/processed.*.data (the four hospitals); where they come
# from stands in the SOURCE.txt beside them. TARGET gets mnist/ (IDX) and, one folder a split, heart/<n>/<hospital>/.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"

splits=10
[ $# -eq 2 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2; }
source=$1 target=$2
mkdir -p "$target/mnist"
for file in "$source"/mnist/*.zst; do
  name=$(basename "$file" .zst)
  [ -s "$target/mnist/$name" ] || { zstd -q -d "$file" -o "$target/mnist/$name.new" && mv "$target/mnist/$name.new" "$target/mnist/$name"; }
done
for ((n = 1; n <= splits; n++)); do
  [ -d "$target/heart/$n" ] || python3 "$here/heart.py" "$source/heart_disease" "$target/heart/$n" --seed "$n"
done
say "Data in $target"
