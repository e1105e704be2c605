#!/bin/sh
# Developers only: remakes src/schema/protobuf/*.bundle.json from pinned Go modules, and compares the
# decoder with the samples that come with them. Needs Go; users don't, since the bundle is committed.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
work="$root/.tools/kube-bundle"
version=v0.35.0
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
mkdir -p "$work"

# The modules are only unpacked, not built: that they may ask for a newer Go does not matter.
set --
for module in api apimachinery apiextensions-apiserver kube-aggregator; do
  folder="$GOMODCACHE/k8s.io/$module@$version"
  [ -d "$folder" ] || (cd "$work" && go mod download -json "k8s.io/$module@$version" >"$work/download.json") || true
  [ -d "$folder" ] || { cat "$work/download.json" >&2; exit 1; }
  set -- "$@" "$folder"
done

sh "$root/tools/node" "$root/tools/kube-protobuf.ts" "$@"
sh "$root/tools/node" "$root/tools/kube-protobuf-check.ts" "$@"
