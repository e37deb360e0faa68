"""One podpass for the whole run, and the clients that talk to it: kubectl, and plain HTTPS."""

import base64
import json
import os
import pathlib
import queue
import signal
import ssl
import subprocess
import threading
import time
import types
import urllib.error
import urllib.request

import pytest
import yaml

START_SECONDS = 20
STOP_SECONDS = 20
COMMAND_SECONDS = 60


def eventually(probe, seconds=20, what="the condition"):
    """The first true answer of probe: for what a controller does behind the request."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {seconds} s, the last answer was {answer!r}")
        time.sleep(0.05)


class Lines:
    """The lines of a pipe, each with a deadline; the pipe is always drained, so its writer never blocks."""

    def __init__(self, pipe):
        self.seen = []
        self._queue = queue.Queue()
        threading.Thread(target=self._drain, args=(pipe,), daemon=True).start()

    def _drain(self, pipe):
        for line in pipe:
            self._queue.put(line)
        self._queue.put(None)

    def until(self, text, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} within {seconds} s, only {self.seen}") from None
            if line is None:
                raise AssertionError(f"the output ended without {text!r}: {self.seen}")
            self.seen.append(line)
            if text in line:
                return line


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    podpass = os.environ.get("PODPASS")
    if not podpass:
        pytest.exit("PODPASS must name the podpass binary", returncode=2)
    directory = tmp_path_factory.mktemp("podpass")
    data = directory / "data"
    log = directory / "stderr"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [podpass, "up", "--data-dir", str(data), "--port", "0", "--node", "off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        try:
            Lines(process.stdout).until("podpass is ready", START_SECONDS)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\nstderr:\n{log.read_text(errors='replace')[-4000:]}") from None
        endpoints = json.loads((data / "endpoints.json").read_text())
        yield types.SimpleNamespace(
            url=endpoints["apiserver"].rstrip("/"), issuer=endpoints["issuer"], data=data,
            kubeconfig=data / "admin.kubeconfig", process=process)
        assert process.poll() is None, f"podpass died during the tests: {log.read_text(errors='replace')[-4000:]}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class Credentials:
    """The admin's client certificate and the CA, taken out of the kubeconfig as files for ssl and openssl."""

    def __init__(self, kubeconfig, directory):
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        user = config["users"][0]["user"]
        self.ca = self._file(cluster, "certificate-authority", directory)
        self.certificate = self._file(user, "client-certificate", directory)
        self.key = self._file(user, "client-key", directory)

    @staticmethod
    def _file(section, name, directory):
        if name in section:
            return section[name]
        path = directory / name
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(section[name + "-data"]))
        return str(path)


class Answer:
    def __init__(self, code, headers, body):
        self.code = code
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.code} {self.body[:600]!r}>"


@pytest.fixture(scope="session")
def credentials(server, tmp_path_factory):
    return Credentials(server.kubeconfig, tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="session")
def call(server, credentials):
    """call(method, path, body): as the admin; with token=… as its bearer; with token="" as nobody."""

    def context(with_certificate):
        made = ssl.create_default_context(cafile=credentials.ca)
        if with_certificate:
            made.load_cert_chain(credentials.certificate, credentials.key)
        return made

    admin, stranger = context(True), context(False)

    def request(method, path, body=None, headers=None, token=None):
        sent = {"Accept": "application/json"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        if token:
            sent["Authorization"] = "Bearer " + token
        sent.update(headers or {})
        wanted = urllib.request.Request(server.url + path, data=body, method=method, headers=sent)
        try:
            with urllib.request.urlopen(wanted, timeout=30, context=admin if token is None else stranger) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, refusal.headers, refusal.read())

    return request


class KubectlError(Exception):
    def __init__(self, arguments, result):
        self.code = result.returncode
        self.stdout = result.stdout
        self.stderr = result.stderr
        super().__init__(f"kubectl {' '.join(arguments)} exited {self.code}\nstderr: {self.stderr}\nstdout: {self.stdout}")


class Kubectl:
    def __init__(self, kubeconfig, directory, namespace=None):
        self._kubeconfig = kubeconfig
        self._directory = directory
        self.namespace = namespace

    def within(self, namespace):
        return Kubectl(self._kubeconfig, self._directory, namespace)

    def _command(self, arguments):
        # before the arguments, so that a later -n wins
        scope = ["--namespace", self.namespace] if self.namespace else []
        return ["kubectl", "--cache-dir", str(self._directory / "cache"), *scope, *arguments]

    def _environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self._directory), "KUBECONFIG": str(self._kubeconfig), "LC_ALL": "C.UTF-8"}

    def run(self, *arguments, stdin=None):
        if stdin is not None and not isinstance(stdin, str):
            stdin = json.dumps(stdin)
        return subprocess.run(self._command(arguments), input=stdin if stdin is not None else "", capture_output=True, text=True,
                              env=self._environment(), timeout=COMMAND_SECONDS, check=False)

    def __call__(self, *arguments, stdin=None):
        result = self.run(*arguments, stdin=stdin)
        if result.returncode != 0:
            raise KubectlError(arguments, result)
        return result.stdout

    def json(self, *arguments, stdin=None):
        return json.loads(self(*arguments, "-o", "json", stdin=stdin))

    def fails(self, *arguments, stdin=None, code=1):
        """stderr of a command that must fail with this exit status."""
        result = self.run(*arguments, stdin=stdin)
        assert result.returncode == code, f"kubectl {' '.join(arguments)} exited {result.returncode}: {result.stdout}{result.stderr}"
        return result.stderr

    def start(self, *arguments):
        return subprocess.Popen(self._command(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, env=self._environment())


@pytest.fixture(scope="session")
def cluster_kubectl(server, tmp_path_factory):
    return Kubectl(server.kubeconfig, pathlib.Path(tmp_path_factory.mktemp("home")))


@pytest.fixture
def namespace(call):
    """A namespace for one test, with its default service account and its token Secret in place."""
    made = call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "e2e-"}})
    assert made.code == 201, made
    name = made.json["metadata"]["name"]
    eventually(lambda: call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").json.get("secrets"),
               what=f"service account {name}/default with a token Secret")
    yield name
    call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubectl(cluster_kubectl, namespace):
    """kubectl in the namespace of this test."""
    return cluster_kubectl.within(namespace)
