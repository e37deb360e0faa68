"""A real nginx that asks `podpass verify` before it lets a request through (auth_request), with the configuration of the user guide."""

import http.server
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

import pytest
from podpass import COMMAND_SECONDS, STOP_SECONDS, Call, Credentials, Lines, Podpass, eventually

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "user-guide.md"
SUBJECT = "system:serviceaccount:default:default"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/{}/token"


class Backend(http.server.ThreadingHTTPServer):
    """Keeps the requests that reach it, and says who asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.seen.append((self.headers, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write((self.headers.get("X-Podpass-Subject") or "nobody").encode())

        do_GET = do_POST

        def log_message(self, *_):
            pass


class Nginx:
    """As nobody, with all its files below a directory of its own, on a free port."""

    def __init__(self, verifier, backend):
        self._directory = tempfile.TemporaryDirectory(prefix="podpass-nginx-")
        self._prefix = pathlib.Path(self._directory.name)
        locations = "\n".join(line for line in re.search(r"\n    location / \{\n(?:    .*\n)+", GUIDE.read_text()).group().splitlines())
        self._locations = locations.replace("http://127.0.0.1:8080", backend).replace("http://127.0.0.1:8443/verify", verifier)
        assert backend in self._locations and verifier in self._locations, "the guide names the addresses that are replaced"
        self._identity = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._identity:
            shutil.chown(self._prefix, "nobody", "nogroup")

    def _configuration(self, port):
        paths = "\n".join(f"{name}_temp_path {self._prefix}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return (f"daemon off;\nworker_processes 1;\npid {self._prefix}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n"
                f"server {{\nlisten 127.0.0.1:{port};\n{self._locations}\n}}\n}}\n")

    def _start(self):
        with socket.create_server(("127.0.0.1", 0)) as free:  # nginx cannot be told to choose one
            port = free.getsockname()[1]
        configuration = self._prefix / "nginx.conf"
        configuration.write_text(self._configuration(port))
        log = (self._prefix / "stderr").open("wb")
        with log:
            self.process = subprocess.Popen([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", str(self._prefix), "-c", str(configuration),
                                             "-e", "stderr"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._identity)
        self.url = f"http://127.0.0.1:{port}"

        def listens():
            if self.process.poll() is not None:
                return True
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens, what="nginx")
        return self.process.poll() is None

    def __enter__(self):
        for _ in range(5):  # somebody may take the port between us and nginx
            if self._start():
                return self
            said = (self._prefix / "stderr").read_text()
            assert "Address already in use" in said, said
        raise AssertionError("no port stayed free")

    def __exit__(self, *_):
        try:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._directory.cleanup()


class Guarded:
    """The issuer, podpass verify, nginx and the service behind it."""

    def __init__(self, running, directory, nginx, backend, stop_verifier):
        self._call = Call(running.url, Credentials(running.kubeconfig, directory))
        self.url = nginx.url
        self.backend = backend
        self.stop_verifier = stop_verifier
        made = self._call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "stranger"}})
        assert made.code == 201, made

    def token(self, audience="api", account="default"):
        made = self._call("POST", TOKEN.format(account), {"spec": {"audiences": [audience]}})
        assert made.code == 201, made
        return made.json["status"]["token"]

    def ask(self, token=None, headers=None, body=None):
        sent = dict(headers or {}, **({"Authorization": f"Bearer {token}"} if token else {}))
        before = len(self.backend.seen)
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + "/a/path?q=1", data=body, headers=sent), timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                assert len(self.backend.seen) == before, "a refused request does not reach the service"
                return refusal.code, refusal.headers, refusal.read().decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    if not shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("nginx is not installed: make deps")
    directory = tmp_path_factory.mktemp("guarded")
    backend = Backend()
    serving = threading.Thread(target=backend.serve_forever, daemon=True)
    serving.start()
    with Podpass(directory, "--node", "off", "--webhook-port", "-1") as running:
        verifier = subprocess.Popen([os.environ["PODPASS"], "verify", "--listen", "127.0.0.1:0", "--issuer", running.issuer, "--audience", "api", "--issuer-ca",
                                     str(running.data / "ca.crt"), "--allow-subject", SUBJECT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

        def stop():
            if verifier.poll() is None:
                verifier.terminate()
                verifier.wait(STOP_SECONDS)

        try:
            url = Lines(verifier.stdout).until("/verify", COMMAND_SECONDS).split(" at ")[1].strip()
            with Nginx(url, f"http://127.0.0.1:{backend.server_port}") as nginx:
                yield Guarded(running, directory, nginx, backend, stop)
        finally:
            stop()
            backend.shutdown()
            backend.server_close()


def test_a_good_token_is_let_through_with_its_name(guarded):
    forged = {"X-Podpass-Subject": "system:admin", "X-Podpass-Namespace": "kube-system"}
    status, _, said = guarded.ask(guarded.token(), forged, b"a body")
    assert (status, said) == (200, SUBJECT)
    headers, body = guarded.backend.seen[-1]
    assert headers.get_all("X-Podpass-Subject") == [SUBJECT] and headers.get_all("X-Podpass-Namespace") == ["default"]
    assert headers["X-Podpass-Service-Account"] == "default"
    assert "Authorization" not in headers and body == b"a body"


def test_without_a_token_is_401(guarded):
    status, headers, _ = guarded.ask()
    assert (status, headers.get_all("WWW-Authenticate")) == (401, ['Bearer realm="podpass"'])


@pytest.mark.parametrize("spoil", [lambda token: token[:-8] + "AAAAAAAA", lambda token: "x", lambda token: token + "." + token])
def test_a_bad_token_is_401(guarded, spoil):
    status, headers, _ = guarded.ask(spoil(guarded.token()))
    assert status == 401 and 'error="invalid_token"' in headers["WWW-Authenticate"]


def test_a_token_for_somebody_else_is_401(guarded):
    status, headers, _ = guarded.ask(guarded.token("elsewhere"))
    assert status == 401 and "not for this audience" in headers["WWW-Authenticate"]


def test_a_good_token_of_somebody_else_is_403(guarded):
    assert guarded.ask(guarded.token(account="stranger"))[0] == 403


def test_nobody_asks_the_verifier_through_nginx(guarded):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(guarded.url + "/_verify", timeout=30)
    assert refusal.value.code == 404


def test_without_its_verifier_nginx_lets_nobody_through(guarded):  # the last of this file
    token = guarded.token()
    assert guarded.ask(token)[0] == 200
    guarded.stop_verifier()
    assert guarded.ask(token)[0] == 500
