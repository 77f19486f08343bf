#!/usr/bin/env bash
# Writes container images as OCI image layouts, without a daemon: build/images/flops-agent (agent and trainer) and
# build/images/flops-coordinator (with its broker). Each has one index for all architectures; nothing in them runs as
# root. The same packages give the same bytes.
#
#   scripts/images.sh [amd64|arm64]... [options]      (this machine's architecture)
#     --packages DIR   with the .deb files of scripts/package.sh (build/packages)
#     --output DIR     where the layouts are written (build/images)
#
# Into a registry or a containerd: skopeo copy --all oci:build/images/flops-agent:VERSION docker://...
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages=$ROOT/build/packages output=$ROOT/build/images
version=$(sed -n 's/^project(flops_edge VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")
arches=()
uid=10001 # of no user of the host's, as a rule

usage() {
  [ $# -eq 0 ] || say "error: $*"
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case "$1" in
    --packages | --output) [ $# -ge 2 ] || usage "$1 needs a value" ;;
  esac
  case "$1" in
    amd64 | arm64) arches+=("$1") ;;
    --packages) packages=$(realpath "$2"); shift ;;
    --output) output=$(realpath -m "$2"); shift ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done
[ "${#arches[@]}" -gt 0 ] || arches=("$(dpkg --print-architecture)")
for tool in mmdebstrap jq dpkg-deb; do
  command -v "$tool" >/dev/null || die "$tool is missing: apt-get install $tool"
done
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct) || die "not a git repository: set SOURCE_DATE_EPOCH"
fi
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

multiarch() { case "$1" in amd64) echo x86_64-linux-gnu ;; arm64) echo aarch64-linux-gnu ;; esac; }

deb_of() { # PACKAGE ARCH
  local found
  found=$(find "$packages" -maxdepth 1 -name "${1}_*_$2.deb" | sort | tail -n 1)
  [ -n "$found" ] || die "there is no package $1 for $2 in $packages: run scripts/package.sh $2"
  echo "$found"
}

# What our packages depend on, without versions, alternatives and each other. Maintainer scripts do not run here, so
# what is only for those is left out.
dependencies() {
  local deb
  for deb in "$@"; do dpkg-deb --field "$deb" Depends; done |
    tr ',' '\n' | sed 's/|.*//; s/([^)]*)//; s/[[:space:]]//g' | grep -vE '^(flops-.*|systemd|)$' | sort -u
}

# make_root FOLDER ARCH USER PACKAGE...: a root file system that nobody has to install.
make_root() {
  local root=$1 arch=$2 user=$3 debs=() package lib
  shift 3
  for package in "$@"; do debs+=("$(deb_of "$package" "$arch")"); done
  mapfile -t needed < <(dependencies "${debs[@]}")
  say "  $arch: ${needed[*]}"
  mmdebstrap --quiet --variant=extract --architectures="$arch" --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include="$(IFS=,; echo "base-files,tzdata,${needed[*]}")" bookworm "$root" >&2 ||
    die "unpacking what the image needs failed"
  for package in "${debs[@]}"; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$root" --keep-directory-symlink # /lib is one
  done
  # What package scripts would have done: a user, and OpenBLAS as the system's BLAS.
  printf 'root:x:0:0:root:/root:/usr/sbin/nologin\n%s:x:%s:%s::/var/lib/%s:/usr/sbin/nologin\n' "$user" "$uid" "$uid" "$user" >"$root/etc/passwd"
  printf 'root:x:0:\n%s:x:%s:\n' "$user" "$uid" >"$root/etc/group"
  for lib in "$root/usr/lib/$(multiarch "$arch")/openblas-pthread/"*.so.*; do
    [ ! -e "$lib" ] || ln -sf "openblas-pthread/$(basename "$lib")" "$root/usr/lib/$(multiarch "$arch")/"
  done
  mkdir -p "$root/var/lib/$user" "$root/tmp"
  chown "$uid:$uid" "$root/var/lib/$user"
  chmod 0700 "$root/var/lib/$user"
  chmod 1777 "$root/tmp"
  # Licences stay, manuals do not.
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "${root:?}"/usr/share/{man,locale,info,lintian,bash-completion,zsh,fish} "${root:?}"/var/{cache,log,lib/apt,lib/dpkg} "${root:?}"/{proc,sys,dev,run}/* "${root:?}"/lib/systemd
}

# Puts a file into the layout, by its digest. Prints that and its size.
add_blob() { # LAYOUT FILE
  local digest
  digest=$(sha256sum "$2" | cut -d' ' -f1)
  mv "$2" "$1/blobs/sha256/$digest"
  echo "$digest $(stat -c %s "$1/blobs/sha256/$digest")"
}
descriptor() { # TYPE DIGEST SIZE
  jq -cn --arg type "$1" --arg digest "sha256:$2" --argjson size "$3" '{mediaType: $type, digest: $digest, size: $size}'
}

# add_image LAYOUT ARCH ROOT NAME COMMAND...: one architecture. Prints the descriptor of its manifest.
add_image() {
  local layout=$1 arch=$2 root=$3 name=$4 diff layer config digest size
  shift 4
  tar --create --directory "$root" --sort=name --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=posix \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime . >"$work/layer.tar"
  diff=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  gzip -n -6 "$work/layer.tar"
  read -r digest size <<<"$(add_blob "$layout" "$work/layer.tar.gz")"
  layer=$(descriptor application/vnd.oci.image.layer.v1.tar+gzip "$digest" "$size")
  jq -n --arg arch "$arch" --arg diff "sha256:$diff" --arg created "$created" --arg user "$uid:$uid" --arg name "$name" \
    --arg version "$version" '$ARGS.positional as $command | {created: $created, architecture: $arch, os: "linux",
      config: {User: $user, Entrypoint: [$command[0]], Cmd: $command[1:], WorkingDir: "/var/lib/\($name)",
        Env: ["PATH=/usr/sbin:/usr/bin"], Volumes: {"/var/lib/\($name)": {}}, StopSignal: "SIGTERM",
        Labels: {"org.opencontainers.image.title": $name, "org.opencontainers.image.version": $version,
          "org.opencontainers.image.licenses": "Apache-2.0"}},
      rootfs: {type: "layers", diff_ids: [$diff]}, history: [{created: $created, created_by: "scripts/images.sh"}]}' \
    --args -- "$@" >"$work/config.json"
  read -r digest size <<<"$(add_blob "$layout" "$work/config.json")"
  config=$(descriptor application/vnd.oci.image.config.v1+json "$digest" "$size")
  jq -n --argjson config "$config" --argjson layer "$layer" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json", config: $config, layers: [$layer]}' >"$work/manifest.json"
  read -r digest size <<<"$(add_blob "$layout" "$work/manifest.json")"
  descriptor application/vnd.oci.image.manifest.v1+json "$digest" "$size" |
    jq -c --arg arch "$arch" '. + {platform: {architecture: $arch, os: "linux"}}'
}

# make_layout NAME "PACKAGES" COMMAND...
make_layout() {
  local name=$1 list=$2 layout=$work/layout arch manifests='' digest size
  shift 2
  say "$name"
  rm -rf "$layout"
  mkdir -p "$layout/blobs/sha256"
  for arch in "${arches[@]}"; do
    # shellcheck disable=SC2086 # names of packages
    make_root "$work/root" "$arch" "$name" $list
    manifests+=$(add_image "$layout" "$arch" "$work/root" "$name" "$@")
    rm -rf "$work/root"
  done
  jq -n --slurpfile manifests <(echo "$manifests") '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: $manifests}' >"$work/index.json"
  read -r digest size <<<"$(add_blob "$layout" "$work/index.json")"
  descriptor application/vnd.oci.image.index.v1+json "$digest" "$size" |
    jq --arg version "$version" '{schemaVersion: 2, manifests: [. + {annotations: {"org.opencontainers.image.ref.name": $version}}]}' >"$layout/index.json"
  echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
  mkdir -p "$output"
  rm -rf "${output:?}/$name"
  mv "$layout" "$output/$name"
  echo "$output/$name"
}

make_layout flops-agent "flops-agent flops-trainer" /usr/bin/flops-agent run --config /etc/flops-agent/agent.toml
make_layout flops-coordinator flops-coordinator /usr/bin/flops-coordinator --config /etc/flops-coordinator/coordinator.toml
