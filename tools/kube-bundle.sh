#!/bin/sh
# Developers only: remakes src/schema/*.bundle.json from pinned sources. Needs Python 3 and Go;
# users need neither, since the bundles are committed. See tools/kube-bundle.ts for what is kept.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
work="$root/.tools/kube-bundle"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
mkdir -p "$work"
[ -x "$work/python/bin/pip" ] || python3 -m venv "$work/python"
"$work/python/bin/pip" install --quiet --no-deps kubernetes-validate==1.37.0
schemas=$("$work/python/bin/python" -c 'import site; print(site.getsitepackages()[0])')

# The modules are only unpacked, not built: that they ask for a newer Go does not matter.
fetch() {
  (cd "$work" && go mod download -json "$1@$2" >"$work/download.json") || true
  [ -d "$GOMODCACHE/$1@$2" ] || { cat "$work/download.json" >&2; exit 1; }
}
fetch istio.io/api v1.31.1
fetch sigs.k8s.io/gateway-api v1.7.0

sh "$root/tools/node" "$root/tools/kube-bundle.ts" \
  "$schemas/kubernetes_validate/kubernetes-json-schema/v1.35.0-local/_definitions.json" \
  "$GOMODCACHE/istio.io/api@v1.31.1" "$GOMODCACHE/sigs.k8s.io/gateway-api@v1.7.0"
