"""Pods on a real containerd. Their image is empty: the containers see this machine's own programs through hostPath volumes."""

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import time

import pytest
from podpass import Kubectl, Lines, Podpass, eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs containers, and that needs root")

IMAGE = "docker.io/library/nothing:1"
PROGRAMS = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}  # where Debian's merged /usr keeps them


def image_archive(path):
    """An image without any file, as `docker save` writes it."""
    layer = io.BytesIO()
    tarfile.open(fileobj=layer, mode="w").close()
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}}
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, mode="w") as archive:
        for name, content in (("layer.tar", layer.getvalue()), ("config.json", json.dumps(config).encode()),
                              ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def import_image(node, archive):
    """Into the private containerd of a node whose directory is `node`."""
    config = (node / "containerd" / "config.toml").read_text()
    socket = next(line.split('"')[1] for line in config.splitlines() if line.strip().startswith("address"))
    subprocess.run(["ctr", "-a", socket, "-n", "k8s.io", "images", "import", str(archive)], check=True, stdout=subprocess.DEVNULL,
                   timeout=60)


def pod(name, script, volumes=(), mounts=()):
    host = [{"name": key, "hostPath": {"path": path}} for key, path in PROGRAMS.items()]
    inside = [{"name": key, "mountPath": "/" + key, "readOnly": True} for key in PROGRAMS]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "volumes": [*host, *volumes],
                     "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
                                     "command": ["/usr/bin/sh", "-c", script], "env": [{"name": "PATH", "value": "/usr/bin"}],
                                     "volumeMounts": [*inside, *mounts]}]}}


def wrapper(directory, script):
    """A program that starts podpass in its own way."""
    path = directory / "podpass"
    path.write_text(f"#!/bin/sh\npodpass={shlex.quote(os.environ['PODPASS'])}\n{script}\n")
    path.chmod(0o700)
    return str(path)


class Cluster:
    def __init__(self, podpass, kubectl):
        self.podpass, self.kubectl = podpass, kubectl

    def run(self, manifest):
        self.kubectl("apply", "-f", "-", stdin=manifest)

    def phase(self, name):
        return self.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("node")
    with Podpass(directory, program=wrapper(directory, 'PATH= exec "$podpass" "$@"')) as podpass:  # as some service managers start it
        kubectl = Kubectl(podpass.kubeconfig, tmp_path_factory.mktemp("home"))
        kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=30s")
        image_archive(directory / "image.tar")
        import_image(podpass.data / "node", directory / "image.tar")
        eventually(lambda: kubectl.run("get", "serviceaccount", "default").returncode == 0, what="service account default")
        yield Cluster(podpass, kubectl.within("default"))
    left = [line for line in open("/proc/mounts") if str(directory) in line]
    assert not left, f"podpass left mounts behind: {left}"


def test_a_container_reaches_the_api_with_its_token_and_ca(cluster):
    cluster.run(pod("caller", """
        cd /var/run/secrets/kubernetes.io/serviceaccount
        echo "Authorization: Bearer $(cat token)" >/dev/shm/header
        exec curl -sS --max-time 10 --cacert ca.crt -H @/dev/shm/header \
          "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authorization.k8s.io/v1"
    """))
    eventually(lambda: cluster.phase("caller") in ("Succeeded", "Failed"), seconds=60, what="the end of pod caller")
    output = cluster.kubectl("logs", "caller")
    assert json.loads(output)["kind"] == "APIResourceList", output
    cluster.kubectl("delete", "pod", "caller")


def test_a_volume_follows_its_config_map_and_secret_at_once(cluster):
    for kind, name in (("configmap", "colours"), ("secret", "words")):
        generic = ["generic"] if kind == "secret" else []
        cluster.kubectl("create", kind, *generic, name, "--from-literal=key=before")
    cluster.run(pod("reader", "exec sleep 600",
                    volumes=[{"name": "colours", "configMap": {"name": "colours"}},
                             {"name": "words", "projected": {"sources": [{"secret": {"name": "words"}}]}}],
                    mounts=[{"name": "colours", "mountPath": "/colours"}, {"name": "words", "mountPath": "/words"}]))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/reader", "--timeout=30s")
    for patch, file in (('{"data":{"key":"after"}}', "/colours/key"), ('{"stringData":{"key":"after"}}', "/words/key")):
        kind, name = ("configmap", "colours") if "colours" in file else ("secret", "words")
        assert cluster.kubectl("exec", "reader", "--", "/usr/bin/cat", file) == "before"
        cluster.kubectl("patch", kind, name, "--type=merge", "-p", patch)
        changed = time.monotonic()
        eventually(lambda path=file: cluster.kubectl("exec", "reader", "--", "/usr/bin/cat", path) == "after", seconds=10,
                   what=f"the new {kind} in the container")
        print(f"{kind} changed to seen in the container: {time.monotonic() - changed:.2f} s")
    cluster.kubectl("delete", "pod", "reader")


def test_a_machine_without_containerd_says_what_is_missing(tmp_path):
    remedy = "install containerd (apt install containerd), or give --containerd SOCKET; without pods: --node off"
    hide = f"mount --bind /dev/null {shutil.which('containerd')}"
    hidden = wrapper(tmp_path, f"""exec unshare -m sh -c '{hide} && exec "$0" "$@"' "$podpass" "$@" """)
    with Podpass(tmp_path, program=hidden) as podpass:
        kubectl = Kubectl(podpass.kubeconfig, tmp_path)
        ready = ("get", "node", "-o", "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].message}")
        eventually(lambda: kubectl(*ready), what="the node")
        assert kubectl(*ready) == "container runtime is down: there is no containerd on this machine: " + remedy
        warnings = [line for line in podpass.log().splitlines() if "containerd not started, and no pod runs" in line]
        assert len(warnings) == 1 and f'fix="{remedy}"' in warnings[0], podpass.log()


def test_the_node_role_runs_pods_of_an_api_server_elsewhere(tmp_path):
    (tmp_path / "api").mkdir()
    with Podpass(tmp_path / "api", "--node", "off") as podpass:
        kubectl = Kubectl(podpass.kubeconfig, tmp_path).within("default")
        with (tmp_path / "log").open("wb") as log:
            role = subprocess.Popen([os.environ["PODPASS"], "node", "--data-dir", str(tmp_path / "data"), "--node-name", "far",
                                     "--kubeconfig", str(podpass.kubeconfig)], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            Lines(role.stdout).until("podpass node is ready", 20)
            kubectl("wait", "--for=condition=Ready", "node", "far", "--timeout=30s")
            image_archive(tmp_path / "image.tar")
            import_image(tmp_path / "data" / "node", tmp_path / "image.tar")
            eventually(lambda: kubectl.run("get", "serviceaccount", "default").returncode == 0, what="service account default")
            kubectl("apply", "-f", "-", stdin=pod("guest", "test -s /var/run/secrets/kubernetes.io/serviceaccount/token"))
            phase = ("get", "pod", "guest", "-o", "jsonpath={.status.phase}")
            eventually(lambda: kubectl(*phase) in ("Succeeded", "Failed"), what="the end of pod guest")
            assert kubectl(*phase) == "Succeeded"
            role.terminate()
            assert role.wait(20) == 0, (tmp_path / "log").read_text()
        finally:
            role.kill()
            role.wait()
    assert str(tmp_path) not in open("/proc/mounts").read()
