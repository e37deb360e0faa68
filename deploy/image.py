#!/usr/bin/python3
"""Packs podpass into a container image: image.py PROGRAM ARCHIVE [--name podpass:latest]

The image is the program, the shared libraries that it names, and the roots of Debian's ca-certificates: no shell, no package manager, nothing
to be fetched. The archive is of the form that `docker save` writes: `docker load`, `podman load`, `ctr images import` and
`kind load image-archive` take it. The same files give the same bytes."""

import argparse
import hashlib
import io
import json
import pathlib
import platform
import re
import subprocess
import sys
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ROOTS = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
NOBODY = 65534


def libraries(program):
    """Where the loader finds what the program names, itself included: as it says, below /."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    if missing := re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE):
        sys.exit(f"error: {program} needs {', '.join(missing)}, which this machine does not have\n  fix: make deps")
    return sorted(set(re.findall(r"(/\S+) \(0x", listed)))


def add(tar, name, content=None, mode=0o755):
    made = tarfile.TarInfo(name)
    made.mode = mode
    if content is None:
        made.type = tarfile.DIRTYPE
        return tar.addfile(made)
    made.size = len(content)
    return tar.addfile(made, io.BytesIO(content))


def layer(program):
    files = {"podpass": (program.read_bytes(), 0o755),
             "etc/passwd": (f"nobody:x:{NOBODY}:{NOBODY}:nobody:/:/\n".encode(), 0o644),
             "etc/group": (f"nogroup:x:{NOBODY}:\n".encode(), 0o644)}
    for library in libraries(program):
        files[library.lstrip("/")] = (pathlib.Path(library).read_bytes(), 0o755)
    if not ROOTS.exists():
        sys.exit(f"error: there is no {ROOTS}\n  fix: apt-get install ca-certificates")
    files["usr/lib/ssl/cert.pem"] = (ROOTS.read_bytes(), 0o644)  # where OpenSSL looks for its roots
    folders = {str(parent) for name in files for parent in pathlib.PurePosixPath(name).parents} - {"."}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in sorted(folders):
            add(tar, folder)
        add(tar, "tmp", mode=0o1777)
        for name, (content, mode) in sorted(files.items()):
            add(tar, name, content, mode)
    return packed.getvalue()


def pack(program, archive, name):
    content = layer(program)
    config = {"architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux",
              "config": {"Entrypoint": ["/podpass"], "User": f"{NOBODY}:{NOBODY}"},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]}}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
        add(tar, "config.json", json.dumps(config).encode(), 0o644)
        add(tar, "layer.tar", content, 0o644)


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("program", type=pathlib.Path)
    flags.add_argument("archive", type=pathlib.Path)
    flags.add_argument("--name", default="docker.io/library/podpass:latest")
    given = flags.parse_args()
    if not given.program.is_file():
        sys.exit(f"error: there is no {given.program}\n  fix: make build")
    pack(given.program, given.archive, given.name)
    print(f"{given.archive}: {given.name}, {given.archive.stat().st_size >> 20} MiB")


if __name__ == "__main__":
    main()
