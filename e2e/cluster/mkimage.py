#!/usr/bin/env python3
"""Makes a container image of one layer from a directory, without a registry and without Docker.

    mkimage.py ROOTFS OUT.tar NAME:TAG [--entrypoint JSON] [--cmd JSON] [--user UID] [--workdir DIR] [--env K=V]...

The archive is an OCI layout and a docker-archive at once, so `ctr images import`, `docker load`, `podman load` and
`kind load image-archive` all read it. All files belong to root and have no time, so equal input gives equal bytes.
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rootfs")
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("--entrypoint", type=json.loads)
    parser.add_argument("--cmd", type=json.loads)
    parser.add_argument("--user", default="")
    parser.add_argument("--workdir", default="/")
    parser.add_argument("--env", action="append", default=[])
    return parser.parse_args()


def layer(rootfs):
    """The directory as an uncompressed tar, in the order of names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory, subdirectories, files in os.walk(rootfs):
            subdirectories.sort()
            relative = os.path.relpath(directory, rootfs)
            links = [d for d in subdirectories if os.path.islink(os.path.join(directory, d))]
            if relative != ".":
                add(tar, directory, relative)
            for name in sorted(files + links):
                add(tar, os.path.join(directory, name), os.path.normpath(os.path.join(relative, name)))
    return buffer.getvalue()


def add(tar, path, name):
    entry = tar.gettarinfo(path, name)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    if entry.isreg():
        with open(path, "rb") as file:
            tar.addfile(entry, file)
    else:
        tar.addfile(entry)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def main():
    args = arguments()
    raw = layer(args.rootfs)
    packed = gzip.compress(raw, 6, mtime=0)
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + args.env,
              "WorkingDir": args.workdir, "User": args.user}
    if args.entrypoint:
        config["Entrypoint"] = args.entrypoint
    if args.cmd:
        config["Cmd"] = args.cmd
    image = json.dumps({
        "created": "1970-01-01T00:00:00Z", "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(raw)]},
    }, sort_keys=True).encode()
    media = "application/vnd.oci.image."
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": media + "manifest.v1+json",
        "config": {"mediaType": media + "config.v1+json", "digest": digest(image), "size": len(image)},
        "layers": [{"mediaType": media + "layer.v1.tar+gzip", "digest": digest(packed), "size": len(packed)}],
    }).encode()
    index = json.dumps({"schemaVersion": 2, "mediaType": media + "index.v1+json", "manifests": [{
        "mediaType": media + "manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {"io.containerd.image.name": args.name,
                        "org.opencontainers.image.ref.name": args.name.rsplit(":", 1)[1]}}]}).encode()
    blob = {digest(data): data for data in (image, manifest, packed)}
    docker = json.dumps([{"Config": path(digest(image)), "RepoTags": [args.name],
                          "Layers": [path(digest(packed))]}]).encode()
    with tarfile.open(args.out + ".tmp", "w") as archive:
        put(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        put(archive, "index.json", index)
        put(archive, "manifest.json", docker)
        for name, data in blob.items():
            put(archive, path(name), data)
    os.replace(args.out + ".tmp", args.out)
    print(f"{args.name}  {len(packed) / 1e6:.1f} MB compressed, {len(raw) / 1e6:.1f} MB")


def path(name):
    return "blobs/" + name.replace(":", "/")


def put(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(data))


main()
