"""A container image of one static busybox, as the archive that `docker save` writes."""

import hashlib
import io
import json
import pathlib
import platform
import subprocess
import tarfile

from podpass import eventually

NAME = "e2e.example/busybox:1"
IMPORT_SECONDS = 60
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BUSYBOX = pathlib.Path("/bin/busybox")
TOOLS = ["cat", "cp", "date", "echo", "env", "false", "head", "httpd", "id", "ls", "mkdir", "nc", "rm", "seq", "sh", "sleep", "stat", "tar", "test",
         "true", "tty", "wc"]


def entry(name, kind=tarfile.REGTYPE, mode=0o755, target="", size=0):
    made = tarfile.TarInfo(name)
    made.type, made.mode, made.linkname, made.size = kind, mode, target, size
    return made


def layer():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("www", 0o755)):
            tar.addfile(entry(folder, tarfile.DIRTYPE, mode))
        program = BUSYBOX.read_bytes()
        tar.addfile(entry("bin/busybox", size=len(program)), io.BytesIO(program))
        for tool in TOOLS:
            tar.addfile(entry("bin/" + tool, tarfile.SYMTYPE, target="busybox"))
        users = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
        tar.addfile(entry("etc/passwd", mode=0o644, size=len(users)), io.BytesIO(users))
        page = b"served from the container\n"
        tar.addfile(entry("www/index.html", mode=0o644, size=len(page)), io.BytesIO(page))
    return packed.getvalue()


def archive(path):
    """Writes the image to `path`."""
    content = layer()
    config = {"architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux",
              "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]}}
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(config).encode(), "layer.tar": content}
    with tarfile.open(path, "w") as tar:
        for file, data in files.items():
            tar.addfile(entry(file, mode=0o644, size=len(data)), io.BytesIO(data))


def put_into(data, directory):
    """Imports the image into the private containerd of the podpass whose data directory `data` is."""
    archive(directory / "image.tar")
    command = ["ctr", "-a", str(data / "node/containerd/containerd.sock"), "-n", "k8s.io", "images", "import", str(directory / "image.tar")]

    def imported():
        return subprocess.run(command, capture_output=True, timeout=IMPORT_SECONDS, check=False).returncode == 0

    eventually(imported, seconds=IMPORT_SECONDS, what="the import of " + NAME)
