#!/usr/bin/env bash
# The container images: skopeo reads and copies them, they are the same bytes when made twice, and their programs run in
# them as their user. Made of the packages in build/packages (scripts/package.sh), of each architecture that is there.
#
#   tests/packaging/images.sh SOURCE_DIR
set -euo pipefail
source_dir=${1:?usage: images.sh SOURCE_DIR}
# shellcheck source=scripts/lib.sh
. "$source_dir/scripts/lib.sh"

packages=$source_dir/build/packages
arches=()
for arch in amd64 arm64; do
  ! ls "$packages"/flops-agent_*_"$arch".deb >/dev/null 2>&1 || arches+=("$arch")
done
if [ "$(id -u)" -ne 0 ] || [ "${#arches[@]}" -eq 0 ] || ! command -v skopeo >/dev/null; then
  echo "needs root, skopeo, and packages in $packages"
  exit 77
fi
SOURCE_DATE_EPOCH=$(git -C "$source_dir" log -1 --format=%ct) # both times, whatever is committed meanwhile
export SOURCE_DATE_EPOCH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() {
  say "images test: $*"
  exit 1
}

"$source_dir/scripts/images.sh" "${arches[@]}" --output "$folder/first" >/dev/null
"$source_dir/scripts/images.sh" "${arches[@]}" --output "$folder/second" >/dev/null
native=$(dpkg --print-architecture)
for image in flops-agent flops-coordinator; do
  layout=$folder/first/$image
  cmp "$layout/index.json" "$folder/second/$image/index.json" || fail "$image: made twice, the bytes differ"
  version=$(jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"]' "$layout/index.json")
  skopeo copy --quiet --all "oci:$layout:$version" "oci:$folder/copy:$version" || fail "$image: skopeo cannot copy it"
  for arch in "${arches[@]}"; do
    skopeo --override-arch "$arch" inspect --config "oci:$folder/copy:$version" >"$folder/config" || fail "$image: skopeo cannot read $arch"
    [ "$(jq -r .architecture "$folder/config")" = "$arch" ] || fail "$image: $arch is missing"
    user=$(jq -r .config.User "$folder/config")
    [ "${user%%:*}" -gt 0 ] || fail "$image runs as root"
  done
  digest=$(skopeo --override-arch "$native" inspect "oci:$folder/copy:$version" | jq -r '.Layers[0]')
  mkdir "$folder/root"
  tar -xzf "$folder/copy/blobs/sha256/${digest#sha256:}" -C "$folder/root"
  mount --bind /dev "$folder/root/dev"
  mount --bind /proc "$folder/root/proc"
  inside() { chroot --userspec="$user" "$folder/root" "$@"; }
  status=0
  inside "/usr/bin/$image" --version || status=1
  [ "$image" != flops-agent ] || inside /usr/libexec/flops-edge/flops-trainer examine || status=1
  if [ "$image" = flops-coordinator ]; then
    inside /usr/sbin/mosquitto -h >"$folder/said" || true # says its version, and fails
    grep "^mosquitto version" "$folder/said" || status=1
  fi
  inside /usr/bin/test -w "/var/lib/$image" 2>/dev/null || [ "$(stat -c %u "$folder/root/var/lib/$image")" = "${user%%:*}" ] || status=1
  umount "$folder/root/dev" "$folder/root/proc"
  [ "$status" -eq 0 ] || fail "$image: its programs do not run in it"
  rm -rf "$folder/root" "$folder/copy"
done
say "images test: passed for ${arches[*]}"
