#!/bin/sh
# Developers only: remakes proto/*.binpb in a Python environment of its own, with pinned versions.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
venv="$root/.tools/descriptors"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet xds-protos==1.85.0 grpcio-tools==1.85.1
"$venv/bin/python" "$root/tools/descriptors.py"
