"""Pods that run: what is in them, and every way that kubectl reaches into them. Needs root and containerd."""

import base64
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import urllib.request

import image
import pytest
from podpass import Kubectl, Lines, eventually, fetched

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def pod(name, *command, restart="Never", container=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, **spec,
                     "containers": [{"name": "main", "image": image.NAME, "imagePullPolicy": "IfNotPresent", "command": list(command), **(container or {})}]}}


def kubectl_of(version, node_server, node_namespace, directory):
    binary = "kubectl"
    if version[0].isdigit():
        binary = fetched("kubectl-" + version)
        if binary is None:
            pytest.skip(f"kubectl {version} was not fetched (no npm, or no registry: see the test `clients`)")
    return Kubectl(node_server.kubeconfig, directory, node_namespace, binary)


@pytest.fixture(scope="module", params=["the machine's", "1.20", "1.35"])
def kubectl(request, node_server, node_namespace, tmp_path_factory):
    """kubectl that execs by SPDY (1.20), and by WebSocket with SPDY to fall back on."""
    return kubectl_of(request.param, node_server, node_namespace, tmp_path_factory.mktemp("node-home"))


@pytest.fixture(scope="module", params=["the machine's", "1.20", "1.28", "1.32", "1.35"])
def each_kubectl(request, node_server, node_namespace, tmp_path_factory):
    """For what every version does in its own way."""
    return kubectl_of(request.param, node_server, node_namespace, tmp_path_factory.mktemp("node-home"))


@pytest.fixture(scope="module")
def one(node_server, node_namespace, tmp_path_factory):
    """The machine's kubectl, for what does not depend on its version."""
    return Kubectl(node_server.kubeconfig, tmp_path_factory.mktemp("node-home"), node_namespace)


def status_of(kubectl, name):
    return kubectl.json("get", "pod", name)["status"]


def waiting_reason(kubectl, name):
    [container] = status_of(kubectl, name).get("containerStatuses") or [{}]
    return container.get("state", {}).get("waiting", {}).get("reason")


def started(kubectl, wanted, phase="Running"):
    name = wanted["metadata"]["name"]
    kubectl("apply", "-f", "-", stdin=wanted)
    eventually(lambda: status_of(kubectl, name).get("phase") == phase, seconds=60, what=f"{name} {phase}")
    return name


@pytest.fixture(scope="module")
def long(one):
    """A pod that stays, serves a page, and talks."""
    return started(one, pod("long", "sh", "-c", "echo began; httpd -p 8080 -h /www; while true; do sleep 0.2; echo tick; done"))


@pytest.fixture(scope="module")
def listener(one):
    """A pod whose main process reads its standard input."""
    return started(one, pod("listener", "sh", "-c", "while read line; do echo heard $line; done; sleep 1000", container={"stdin": True}))


def events_of(kubectl, name):
    """Reason and message of each event."""
    found = kubectl.json("get", "events", "--field-selector", f"involvedObject.name={name}")["items"]
    return [(event["reason"], event["message"]) for event in found]


def has_event(kubectl, name, *reasons, saying=""):
    return any(reason in reasons and saying in message for reason, message in events_of(kubectl, name))


def test_a_pod_shows_what_kubectl_expects(one, long):
    status = status_of(one, long)
    assert {c["type"]: c["status"] for c in status["conditions"]}.items() >= {"Initialized": "True", "Ready": "True", "ContainersReady": "True",
                                                                              "PodScheduled": "True"}.items()
    [container] = status["containerStatuses"]
    assert container["ready"] and container["started"] and container["restartCount"] == 0
    assert container["containerID"].startswith("containerd://") and container["imageID"] and container["state"]["running"]["startedAt"]
    assert re.fullmatch(r"[\d.]+", status["podIP"]) and status["hostIP"] and status["startTime"]
    assert one("get", "pod", long, "--no-headers").split()[:4] == [long, "1/1", "Running", "0"]
    assert {"Scheduled", "Pulled", "Created", "Started"} <= {reason for reason, _ in events_of(one, long)}


def test_the_projected_volume_holds_token_authority_and_namespace(kubectl, long, node_call, node_server):
    token = kubectl("exec", long, "--", "cat", ACCOUNT_FOLDER + "/token")
    said = node_call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                     {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, token=token)
    assert said.code == 201, said
    user = said.json["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{kubectl.namespace}:default"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == [long]
    assert kubectl("exec", long, "--", "cat", ACCOUNT_FOLDER + "/namespace") == kubectl.namespace
    assert kubectl("exec", long, "--", "cat", ACCOUNT_FOLDER + "/ca.crt") == (node_server.data / "ca.crt").read_text()
    assert "Read-only file system" in kubectl.fails("exec", long, "--", "sh", "-c", f"echo x > {ACCOUNT_FOLDER}/token")


def test_exec_keeps_the_two_outputs_and_the_exit_status(each_kubectl, long):
    result = each_kubectl.run("exec", long, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout) == (7, "out\n")
    assert result.stderr.splitlines()[0] == "err" and "exit code 7" in result.stderr


def test_exec_reads_standard_input_to_its_end(each_kubectl, long):
    text = "line\n" * 20_000
    assert each_kubectl("exec", "-i", long, "--", "wc", "-c", stdin=text).strip() == str(len(text))


def test_exec_writes_more_than_a_window(kubectl, long):
    assert kubectl("exec", long, "--", "seq", "200000") == "".join(f"{n}\n" for n in range(1, 200001))


def test_exec_of_a_missing_program_says_so(kubectl, long):
    result = kubectl.run("exec", long, "--", "/no/such")
    assert result.returncode in (126, 127) or result.returncode == 1, result
    assert "no such file or directory" in result.stderr, result


class Terminal:
    """A command on a pseudo terminal, as a person has it."""

    def __init__(self, kubectl, *arguments):
        leader, follower = pty.openpty()
        self._leader = leader
        self.process = subprocess.Popen(kubectl.command(*arguments), stdin=follower, stdout=follower, stderr=follower,
                                        env=kubectl.environment(), start_new_session=True)
        os.close(follower)
        self.seen = b""

    def type(self, text):
        os.write(self._leader, text.encode())

    def until(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            ready, _, _ = select.select([self._leader], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} within {seconds} s: {self.seen!r}"
            try:
                self.seen += os.read(self._leader, 65536)
            except OSError:  # the other end is closed
                raise AssertionError(f"it ended without {text!r}: {self.seen!r}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._leader)


def test_exec_with_a_terminal_is_a_conversation(each_kubectl, long):
    with Terminal(each_kubectl, "exec", "-it", long, "--", "sh") as shell:
        shell.type("tty && echo $((6*7))\n")
        shell.until("/dev/pts/")
        shell.until("42")
        shell.type("exit 3\n")
        assert shell.process.wait(20) == 3


def test_logs_come_whole_by_the_end_and_as_they_grow(kubectl, long):
    assert kubectl("logs", long).startswith("began\ntick\n")
    assert kubectl("logs", long, "--tail=2") == "tick\ntick\n"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z began\n", kubectl("logs", long, "--timestamps", "--limit-bytes=60"))
    follower = kubectl.start("logs", "-f", "--tail=1", long)
    try:
        lines = Lines(follower.stdout)
        for _ in range(3):
            lines.until("tick", 20)
        assert follower.poll() is None, "it follows until it is told to stop"
    finally:
        follower.terminate()
        follower.wait(20)


def test_following_ends_with_the_container(kubectl):
    name = "short-" + re.sub(r"\W", "-", kubectl.binary.rpartition("/")[2]).lower()
    started(kubectl, pod(name, "sh", "-c", "echo one; sleep 1; echo two"))
    assert kubectl("logs", "-f", name) == "one\ntwo\n"
    eventually(lambda: status_of(kubectl, name)["phase"] == "Succeeded", what="Succeeded")


def test_the_log_of_the_previous_container_is_kept(one):
    one("apply", "-f", "-", stdin=pod("fails", "sh", "-c", "echo $$ $(date +%N); exit 5", restart="Always"))
    eventually(lambda: status_of(one, "fails").get("containerStatuses", [{}])[0].get("restartCount", 0) >= 1, seconds=60, what="a restart")
    [container] = status_of(one, "fails")["containerStatuses"]
    assert container["lastState"]["terminated"]["exitCode"] == 5
    eventually(lambda: waiting_reason(one, "fails") == "CrashLoopBackOff", seconds=60, what="CrashLoopBackOff")
    assert one("logs", "fails", "--previous").strip()
    assert one("logs", "fails").strip()
    assert has_event(one, "fails", "BackOff")
    one("delete", "pod", "fails", "--timeout=30s")


def test_port_forward_carries_http(kubectl, long):
    forwarding = kubectl.start("port-forward", "pod/" + long, ":8080")
    try:
        line = Lines(forwarding.stdout).until("Forwarding from 127.0.0.1:", 20)
        port = re.search(r"127\.0\.0\.1:(\d+)", line).group(1)
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=20) as answer:
                assert answer.read() == b"served from the container\n"
    finally:
        forwarding.terminate()
        forwarding.wait(20)


@pytest.mark.parametrize("ports", ["0", "65536", "-1", "http", "80,", "80,,81"])
def test_a_port_that_is_none_is_a_bad_request(node_call, node_namespace, long, ports):
    answer = node_call("GET", f"/api/v1/namespaces/{node_namespace}/pods/{long}/portforward?ports={ports}", headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        "Sec-WebSocket-Protocol": "v4.channel.k8s.io"})
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest") and "is no port" in answer.json["message"], answer


def test_attach_talks_to_the_main_process(kubectl, listener):
    attached = subprocess.Popen(kubectl.command("attach", "-i", listener), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, env=kubectl.environment())
    try:
        attached.stdin.write("you\n")
        attached.stdin.flush()
        Lines(attached.stdout).until("heard you", 20)
    finally:
        attached.kill()
        attached.wait(20)


def test_cp_brings_files_in_and_out(kubectl, long, tmp_path):
    (tmp_path / "in").write_bytes(os.urandom(300_000))
    kubectl("cp", str(tmp_path / "in"), f"{long}:/tmp/there")
    kubectl("cp", f"{long}:/tmp/there", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_a_pod_gets_its_time_to_end(one):
    started(one, pod("polite", "sh", "-c", "trap 'echo asked; sleep 1; echo done; exit 0' TERM; echo up; while true; do sleep 0.1; done",
                     terminationGracePeriodSeconds=20))
    follower = one.start("logs", "-f", "polite")
    try:
        lines = Lines(follower.stdout)
        lines.until("up", 20)
        one("delete", "pod", "polite", "--timeout=30s")
        lines.until("done", 20)
    finally:
        follower.terminate()
        follower.wait(20)


def test_a_pod_that_does_not_listen_is_killed_when_its_time_is_up(one):
    started(one, pod("deaf", "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done", terminationGracePeriodSeconds=600))
    began = time.monotonic()
    one("delete", "pod", "deaf", "--grace-period=2", "--timeout=30s")
    assert 1.5 < time.monotonic() - began < 25


def unstartable(name, **container):
    return pod(name, "sleep", "1000", container=container)


@pytest.mark.parametrize("name, wanted, reason, event, words", [
    ("no-image", unstartable("no-image", image="registry.invalid/none:1"), "ErrImagePull ImagePullBackOff", "Failed", "registry.invalid/none:1"),
    ("bad-image", unstartable("bad-image", image="Not_A Name"), "InvalidImageName", "InspectFailed Failed", "Not_A Name"),
    ("never", unstartable("never", image="e2e.example/none:1", imagePullPolicy="Never"), "ErrImageNeverPull", "ErrImageNeverPull", "e2e.example/none:1"),
    ("no-secret", unstartable("no-secret", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k"}}}]),
     "CreateContainerConfigError", "Failed", 'secret "gone" not found'),
    ("no-program", pod("no-program", "/no/such"), "RunContainerError StartError CrashLoopBackOff", "Failed", "no such file or directory"),
    ("no-volume", pod("no-volume", "sleep", "1000", volumes=[{"name": "v", "configMap": {"name": "gone"}}],
                      container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), "ContainerCreating", "FailedMount", 'configmap "gone" not found'),
])
def test_a_pod_that_cannot_start_says_why(one, name, wanted, reason, event, words):
    one("apply", "-f", "-", stdin=wanted)
    eventually(lambda: has_event(one, name, *event.split(), saying=words), seconds=60, what=f"an event {event} that says {words!r}")
    state = status_of(one, name)["containerStatuses"][0]["state"]
    assert (state.get("waiting") or state.get("terminated"))["reason"] in reason.split(), state
    assert any(each in one("get", "pod", name, "--no-headers") for each in reason.split())
    one("delete", "pod", name, "--grace-period=0", "--force", "--timeout=30s")


def test_a_config_map_that_comes_later_lets_the_pod_start(one):
    one("apply", "-f", "-", stdin=pod("patient", "cat", "/v/k", volumes=[{"name": "v", "configMap": {"name": "later"}}],
                                      container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
    eventually(lambda: has_event(one, "patient", "FailedMount"), what="FailedMount")
    one("create", "configmap", "later", "--from-literal=k=v")
    eventually(lambda: status_of(one, "patient").get("phase") == "Succeeded", seconds=60, what="Succeeded")
    assert one("logs", "patient") == "v"


def test_a_config_map_in_a_running_pod_changes_as_a_whole(one):
    one("create", "configmap", "fresh", "--from-literal=a=1", "--from-literal=b=1")
    started(one, pod("reader", "sleep", "1000", volumes=[{"name": "v", "configMap": {"name": "fresh"}}],
                     container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
    one("patch", "configmap", "fresh", "-p", json.dumps({"data": {"a": "2", "b": "2"}}))
    seen = eventually(lambda: (text := one("exec", "reader", "--", "cat", "/v/a", "/v/b")) != "11" and text, seconds=90, what="the new content")
    assert seen == "22"


def test_every_plain_volume_is_there(one):
    one("create", "secret", "generic", "s", "--from-literal=k=hunter2")
    volumes = [{"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}}, {"name": "e", "emptyDir": {}},
               {"name": "d", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
               {"name": "m", "emptyDir": {"medium": "Memory"}}]
    mounts = [{"name": v["name"], "mountPath": "/" + v["name"]} for v in volumes]
    started(one, pod("volumes", "sleep", "1000", volumes=volumes, container={"volumeMounts": mounts}))
    assert one("exec", "volumes", "--", "cat", "/s/k") == "hunter2"
    assert one("exec", "volumes", "--", "stat", "-L", "-c", "%a", "/s/k").strip() == "400"
    assert one("exec", "volumes", "--", "cat", "/d/name") == "volumes"
    assert one("exec", "volumes", "--", "sh", "-c", "echo x > /e/f && echo y > /m/f && cat /e/f /m/f") == "x\ny\n"


def test_a_dead_containerd_comes_back_and_the_pod_lives_on(one, long, node_server):
    pid = int((node_server.data / "node/containerd/containerd.pid").read_text())
    before = status_of(one, long)["containerStatuses"][0]["containerID"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: one.run("exec", long, "--", "true").returncode == 0, seconds=60, what="exec after containerd's death")
    assert status_of(one, long)["containerStatuses"][0]["containerID"] == before
    started(one, pod("after", "sleep", "1000"))


def test_a_containerd_that_hangs_is_replaced_and_the_pod_lives_on(one, long, node_server):
    pid = int((node_server.data / "node/containerd/containerd.pid").read_text())
    before = status_of(one, long)["containerStatuses"][0]["containerID"]
    os.kill(pid, signal.SIGSTOP)
    started(one, pod("after-hang", "sleep", "1000"))
    assert status_of(one, long)["containerStatuses"][0]["containerID"] == before
    assert one("exec", long, "--", "echo", "here") == "here\n"


def test_a_token_of_a_pod_dies_with_it(one, node_call):
    started(one, pod("brief", "sleep", "1000"))
    token = one("exec", "brief", "--", "cat", ACCOUNT_FOLDER + "/token")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["kubernetes.io"]["pod"]["name"] == "brief"
    assert node_call("GET", "/api", token=token).code == 200
    one("delete", "pod", "brief", "--timeout=30s")
    assert node_call("GET", "/api", token=token).code == 401
