"""The issuer's documents as caches, pages in browsers and relying parties ask for them, and the listener that serves nothing else."""

import json
import os
import subprocess
import urllib.error

import pytest
from podpass import COMMAND_SECONDS, Call, Credentials, Podpass, eventually

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
OLD = "https://old.example/id/1"
PATHS = [CONFIGURATION, JWKS, "/id/1" + CONFIGURATION]
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"


class Issuing:
    """A podpass with a listener for its documents alone: `api` asks the main one, `documents` that one, without credentials."""

    def __init__(self, running, directory):
        self.running = running
        self.credentials = Credentials(running.kubeconfig, directory)
        self.endpoints = json.loads((running.data / "endpoints.json").read_text())
        self.api = Call(running.url, self.credentials)
        asks = Call(self.endpoints["issuerDocuments"], self.credentials)
        self.documents = lambda method, path, **options: asks(method, path, token="", **options)

    def token(self):
        made = self.api("POST", TOKEN, {"spec": {"audiences": ["api"]}})
        assert made.code == 201, made
        return made.json["status"]["token"]


@pytest.fixture(scope="module")
def issuing(tmp_path_factory):
    directory = tmp_path_factory.mktemp("issuing")
    with Podpass(directory, "--node", "off", "--issuer-port", "0", "--no-anonymous-issuer-discovery", "--jwks-max-age", "15m") as running:
        yield Issuing(running, directory)


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Two issuers that are somewhere else."""
    directory = tmp_path_factory.mktemp("moved")
    with Podpass(directory, "--node", "off", "--issuer-port", "0", "--issuer", "https://new.example", "--issuer", OLD) as running:
        yield Issuing(running, directory)


def curl(issuing, path, *options):
    """The answer's head, and its body: curl speaks HTTP/1.1 and 2, and shows what urllib hides."""
    done = subprocess.run(["curl", "-sS", "-i", "--max-time", "30", "--cacert", issuing.credentials.ca, *options, issuing.endpoints["issuerDocuments"] + path],
                          capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
    head, _, body = done.stdout.partition("\n\n")  # read as text: without the carriage returns
    lines = head.split("\n")
    return int(lines[0].split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}, body


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
@pytest.mark.parametrize("path", PATHS)
def test_is_kept_and_asked_for_again(moved, path, protocol):
    status, first, body = curl(moved, path, protocol)
    assert status == 200 and first["access-control-allow-origin"] == "*" and first["cache-control"] == "public, max-age=3600"
    status, head, nothing = curl(moved, path, protocol, "-I")
    assert (status, nothing) == (200, "") and {name: head[name] for name in ("etag", "content-length", "content-type")} == \
        {name: first[name] for name in ("etag", "content-length", "content-type")}
    assert int(head["content-length"]) == len(body)
    for held in (first["etag"], f'"other", W/{first["etag"]}', "*"):
        status, again, nothing = curl(moved, path, protocol, "-H", f"If-None-Match: {held}")
        assert (status, nothing) == (304, "") and again["etag"] == first["etag"] and "content-type" not in again, again
    assert curl(moved, path, protocol, "-H", 'If-None-Match: "other"')[0] == 200
    status, asked, nothing = curl(moved, path, protocol, "-X", "OPTIONS", "-H", "Origin: https://page.example", "-H", "Access-Control-Request-Method: GET")
    assert (status, nothing) == (204, "") and asked["access-control-allow-methods"] == "GET, HEAD, OPTIONS" and int(asked["access-control-max-age"]) > 0
    for call in (moved.documents, lambda *words: moved.api(*words, token="")):  # it is the same on the main port
        refused = call("DELETE", path)
        assert refused.code == 405 and refused.headers["Allow"] == "GET, HEAD, OPTIONS" and refused.json["reason"] == "MethodNotAllowed"
        assert call("GET", path).headers["ETag"] == first["etag"]


def test_a_rotation_is_a_new_document(issuing):
    before = issuing.documents("GET", JWKS)
    assert before.headers["Cache-Control"] == "public, max-age=900"
    assert issuing.documents("GET", JWKS, headers={"If-None-Match": before.headers["ETag"]}).code == 304
    rotated = subprocess.run([os.environ["PODPASS"], "keys", "rotate", "--kubeconfig", str(issuing.running.kubeconfig)], capture_output=True, text=True,
                             timeout=COMMAND_SECONDS, check=False)
    assert rotated.returncode == 0, rotated.stderr
    asks = lambda: issuing.documents("GET", JWKS, headers={"If-None-Match": before.headers["ETag"]})  # noqa: E731
    after = eventually(lambda: (lambda answer: answer.code == 200 and answer)(asks()), what="another document")
    assert len(after.json["keys"]) == len(before.json["keys"]) + 1


def test_the_issuer_is_where_its_documents_are(issuing):
    issuer = issuing.endpoints["issuer"]
    assert issuer == issuing.endpoints["issuerDocuments"] != issuing.endpoints["apiserver"]
    document = issuing.documents("GET", CONFIGURATION).json
    assert (document["issuer"], document["jwks_uri"]) == (issuer, issuer + JWKS)
    token = issuing.token()
    verified = subprocess.run([os.environ["PODPASS"], "token", "verify", "--issuer", issuer, "--issuer-ca", issuing.credentials.ca, "--audience", "api"],
                              input=token, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert verified.returncode == 0, verified.stderr
    review = issuing.api("POST", REVIEWS, {"spec": {"token": token, "audiences": ["api"]}})
    assert review.json["status"].get("authenticated"), review


def test_the_listener_serves_nothing_else(issuing):
    assert issuing.documents("GET", "/healthz").body == b"ok"
    assert issuing.api("GET", CONFIGURATION, token="").code == 403, "the main port stays closed"
    admin = Call(issuing.endpoints["issuerDocuments"], issuing.credentials)  # with the admin's certificate
    for path in ("/", "/api", "/api/v1/namespaces", "/apis", "/metrics", "/version", "/readyz", "/openid/v1/revocations", "/id/1" + CONFIGURATION, "/%00"):
        refused = admin("GET", path)
        assert refused.code == 404 and refused.json["kind"] == "Status" and refused.json["reason"] == "NotFound", (path, refused)
    assert admin("POST", REVIEWS, {"spec": {"token": "x"}}).code == 404
    assert admin("POST", JWKS, b"x" * 100_000).code == 405
    metrics = issuing.api("GET", "/metrics").body.decode()
    assert 'resource="tokenreviews",subresource="",verb="POST",version="v1"} 404' not in metrics, "what is asked there is no use of the API"


def test_the_sts_trusts_it(issuing):
    provider = issuing.api("GET", "/apis/iam.podpass.dev/v1/oidcproviders/podpass").json
    assert provider["spec"]["url"] == issuing.endpoints["issuer"] and provider["spec"]["caBundle"]


def test_started_again_it_is_there_again(tmp_path):
    with Podpass(tmp_path, "--node", "off") as running:
        before = running.issuer
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        token = call("POST", TOKEN, {"spec": {}}).json["status"]["token"]
    with Podpass(tmp_path, "--node", "off", "--issuer-port", "0") as running:
        issuer = running.issuer
        assert issuer != before
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        review = call("POST", REVIEWS, {"spec": {"token": token}}).json
        assert review["status"].get("authenticated"), f"a token of {before} is good until the next start: {review}"
    with Podpass(tmp_path, "--node", "off", "--issuer-port", "0") as running:
        assert running.issuer == issuer


@pytest.mark.parametrize("options, says", [
    (["--issuer-port", "65536"], "--issuer-port"),
    (["--issuer-port", "x"], "--issuer-port"),
    (["--issuer-bind", "127.0.0.1"], "give --issuer-port as well"),
    (["--issuer-port", "0", "--issuer-bind", "localhost"], "not an IP address: localhost"),
])
def test_what_it_cannot_be(tmp_path, options, says):
    for verb in (["up", "--node", "off"], ["apiserver"]):
        done = subprocess.run([os.environ["PODPASS"], *verb, "--data-dir", str(tmp_path / "data"), "--port", "0", *options], capture_output=True, text=True,
                              timeout=COMMAND_SECONDS, check=False)
        assert done.returncode in (1, 2) and says in done.stderr, done


def test_a_port_that_is_taken_is_said(issuing, tmp_path):
    port = issuing.endpoints["issuerDocuments"].rpartition(":")[2]
    done = subprocess.run([os.environ["PODPASS"], "apiserver", "--data-dir", str(tmp_path / "data"), "--port", "0", "--issuer-port", port],
                          capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert done.returncode == 1 and f"cannot listen on 127.0.0.1:{port}" in done.stderr, done


def test_an_address_of_its_own(tmp_path):
    with Podpass(tmp_path, "--node", "off", "--issuer-port", "0", "--issuer-bind", "127.0.0.2") as running:
        issuing = Issuing(running, tmp_path)
        assert issuing.endpoints["issuer"].startswith("https://127.0.0.2:")
        assert issuing.documents("GET", CONFIGURATION).code == 200  # by its certificate
        with pytest.raises(urllib.error.URLError):
            Call(issuing.endpoints["issuer"].replace("127.0.0.2", "127.0.0.1"), issuing.credentials)("GET", CONFIGURATION, token="")
