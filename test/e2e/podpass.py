"""A running podpass and the clients that talk to it: kubectl, and plain HTTPS."""

import base64
import json
import os
import pathlib
import queue
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import yaml

START_SECONDS = 60
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


def resident_mb(process):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text()).group(1)) / 1024


class Podpass:
    """`podpass up` on a free port with everything below `directory`; ready when made, and stopped at the end of `with`."""

    def __init__(self, directory, *options, program=None):
        binary = program or os.environ.get("PODPASS")
        if not binary:
            raise RuntimeError("PODPASS must name the podpass binary")
        self.data = pathlib.Path(directory) / "data"
        self.kubeconfig = self.data / "admin.kubeconfig"
        self._log = pathlib.Path(directory) / "stderr"
        self.killed = False
        started = time.monotonic()
        with self._log.open("wb") as errors:
            self.process = subprocess.Popen([binary, "up", "--data-dir", str(self.data), "--port", "0", *options],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            Lines(self.process.stdout).until("podpass is ready", START_SECONDS)
            self.start_seconds = time.monotonic() - started
            endpoints = json.loads((self.data / "endpoints.json").read_text())
        except BaseException as failure:
            self._end()
            raise AssertionError(f"{failure}\nstderr:\n{self.log()}") from None
        self.url = endpoints["apiserver"].rstrip("/")
        self.issuer = endpoints["issuer"]

    def log(self):
        return self._log.read_text(errors="replace")[-4000:]

    def stop(self):
        assert self.process.poll() is None, f"podpass died: {self.log()}"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_SECONDS) == 0, f"podpass did not stop cleanly: {self.log()}"

    def kill(self):
        """As a power cut: nothing is said, nothing is cleaned up."""
        self.killed = True
        self._end()

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and not self.killed:
                self.stop()
        finally:
            if self.process.poll() is None:  # a failed test still lets the node unmount and end its containers
                self.process.terminate()
                try:
                    self.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    pass
            self._end()


class Standalone:
    """`podpass webhook` on free ports, beside the API server of a kubeconfig."""

    def __init__(self, directory, kubeconfig, *options, shutdown_delay="0"):
        self._log = directory / "webhook.stderr"
        with self._log.open("wb") as errors:
            self.process = subprocess.Popen([os.environ["PODPASS"], "webhook", "--kubeconfig", str(kubeconfig), "--bind", "127.0.0.1", "--port", "0",
                                             "--metrics-port", "0", "--shutdown-delay", shutdown_delay, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)

    def log(self):
        return self._log.read_text()

    def ports(self):
        def found():
            assert self.process.poll() is None, self.log()
            serving, metrics = re.search(r'Listening on :(\d+)"', self.log()), re.search(r"Listening on :(\d+) for metrics", self.log())
            return serving and metrics and (int(serving.group(1)), int(metrics.group(1)))
        return eventually(found, what="the listeners")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(20) == 0, self.log()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


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
        path = pathlib.Path(directory) / name
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


class Call:
    """call(method, path, body): as the admin; with token=… as its bearer; with token="" as nobody."""

    def __init__(self, url, credentials):
        self._url = url
        self._admin = ssl.create_default_context(cafile=credentials.ca)
        self._admin.load_cert_chain(credentials.certificate, credentials.key)
        self._stranger = ssl.create_default_context(cafile=credentials.ca)

    def __call__(self, method, path, body=None, headers=None, token=None):
        sent = {"Accept": "application/json"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        if token:
            sent["Authorization"] = "Bearer " + token
        sent.update(headers or {})
        wanted = urllib.request.Request(self._url + path, data=body, method=method, headers=sent)
        context = self._admin if token is None else self._stranger
        try:
            with urllib.request.urlopen(wanted, timeout=30, context=context) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, refusal.headers, refusal.read())


class KubectlError(Exception):
    def __init__(self, arguments, result):
        self.code = result.returncode
        self.stdout = result.stdout
        self.stderr = result.stderr
        super().__init__(f"kubectl {' '.join(arguments)} exited {self.code}\nstderr: {self.stderr}\nstdout: {self.stdout}")


def fetched(name):
    """A client that fetch_clients.py put beside the build, or None."""
    folder = os.environ.get("PODPASS_CLIENTS")
    path = pathlib.Path(folder) / name if folder else None
    return path if path and path.exists() else None


class Kubectl:
    def __init__(self, kubeconfig, directory, namespace=None, binary="kubectl"):
        self.binary = str(binary)
        self._kubeconfig = kubeconfig
        self._directory = directory
        self.namespace = namespace

    def within(self, namespace):
        return Kubectl(self._kubeconfig, self._directory, namespace, self.binary)

    def version(self):
        """(major, minor) of the client."""
        said = json.loads(subprocess.run([self.binary, "version", "--client", "-o", "json"], capture_output=True, text=True,
                                         env=self.environment(), timeout=COMMAND_SECONDS, check=True).stdout)["clientVersion"]
        return int(said["major"]), int(said["minor"].rstrip("+"))

    def command(self, *arguments):
        # before the arguments, so that a later -n wins
        scope = ["--namespace", self.namespace] if self.namespace else []
        return [self.binary, "--cache-dir", str(self._directory / "cache"), *scope, *arguments]

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self._directory), "KUBECONFIG": str(self._kubeconfig), "LC_ALL": "C.UTF-8"}

    def run(self, *arguments, stdin=None):
        if stdin is not None and not isinstance(stdin, str):
            stdin = json.dumps(stdin)
        return subprocess.run(self.command(*arguments), input=stdin if stdin is not None else "", capture_output=True, text=True,
                              env=self.environment(), timeout=COMMAND_SECONDS, check=False)

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
        return subprocess.Popen(self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, env=self.environment())
