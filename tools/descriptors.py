"""Makes proto/envoy.binpb and proto/istio.binpb: descriptor sets without comments.

For developers only, and only when a pinned version or one of our .proto files changes:

    sh tools/descriptors.sh

Envoy's and xDS's messages come from the PyPI package xds-protos (Apache-2.0, by the gRPC project);
ours are compiled from proto/istio/*.proto. Users need neither Python nor protoc: `npm run generate`
reads the committed sets.
"""

import importlib
import os
import pathlib
import site
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Whole trees of one API version; everything they import comes along.
TREES = ("envoy", "xds", "udpa", "validate", "opentelemetry")
SKIP = ("/v2/", "/v2alpha", "/v4alpha", "envoy/api/", "envoy/config/filter/", "envoy/config/retry/")


def envoy_files():
    packages = pathlib.Path(site.getsitepackages()[0])
    for tree in TREES:
        for path in sorted((packages / tree).rglob("*_pb2.py")):
            name = str(path.relative_to(packages))
            if not any(part in name for part in SKIP):
                module = importlib.import_module(name[:-3].replace("/", "."))
                yield module.DESCRIPTOR


def write_set(path, descriptors):
    out, seen = descriptor_pb2.FileDescriptorSet(), set()

    def add(descriptor):
        if descriptor.name in seen:
            return
        seen.add(descriptor.name)
        for dependency in descriptor.dependencies:
            add(dependency)
        proto = out.file.add()
        descriptor.CopyToProto(proto)
        proto.ClearField("source_code_info")

    for descriptor in descriptors:
        add(descriptor)
    path.write_bytes(out.SerializeToString(deterministic=True))
    print(f"{path.relative_to(ROOT)}: {len(out.file)} files, {path.stat().st_size} bytes")


def istio_files():
    sources = sorted((ROOT / "proto/istio").glob("*.proto"))
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "set")
        code = protoc.main(
            ["protoc", f"-I{ROOT / 'proto'}", f"-I{include}", "--include_imports",
             f"--descriptor_set_out={target}", *map(str, sources)]
        )
        if code != 0:
            sys.exit(code)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(target).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for proto in files.file:
        pool.Add(proto)
    return [pool.FindFileByName(str(s.relative_to(ROOT / "proto"))) for s in sources]


write_set(ROOT / "proto/envoy.binpb", list(envoy_files()))
write_set(ROOT / "proto/istio.binpb", istio_files())
