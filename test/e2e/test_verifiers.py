"""What stands on the far side of a token: podpass verify, podpass token verify, podpass doctor issuer, and OIDC users of another podpass."""

import json
import os
import subprocess
import urllib.error
import urllib.request

import pytest
from podpass import COMMAND_SECONDS, STOP_SECONDS, Call, Credentials, Lines, Podpass, eventually


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    """A podpass whose documents anybody may read."""
    with Podpass(tmp_path_factory.mktemp("issuer"), "--node", "off", "--anonymous-issuer-discovery") as running:
        yield running


def podpass(*words, stdin=""):
    return subprocess.run([os.environ["PODPASS"], *words], input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def token_of(issuer, audience):
    made = eventually(lambda: (lambda ran: ran if ran.returncode == 0 else None)(
        podpass("token", "create", "default", "--kubeconfig", str(issuer.kubeconfig), "--audience", audience)), what="podpass token create")
    return made.stdout.strip()


@pytest.fixture(scope="module")
def verifier(issuer):
    process = subprocess.Popen([os.environ["PODPASS"], "verify", "--listen", "127.0.0.1:0", "--issuer", issuer.issuer, "--audience", "api",
                                "--issuer-ca", str(issuer.data / "ca.crt")], stdout=subprocess.PIPE, text=True)
    try:
        yield Lines(process.stdout).until("/verify", STOP_SECONDS).split(" at ")[1].strip()
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ask(url, token):
    wanted = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(wanted, timeout=30) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers


def test_a_proxy_learns_who_asks(issuer, verifier):
    status, headers = ask(verifier, token_of(issuer, "api"))
    assert status == 200
    assert headers["X-Podpass-Subject"] == "system:serviceaccount:default:default"
    assert headers["X-Podpass-Service-Account"] == "default"
    status, headers = ask(verifier, token_of(issuer, "elsewhere"))
    assert status == 401
    assert "the token is not for this audience: expected 'api'" in headers["WWW-Authenticate"]


def test_an_audience_does_not_swallow_the_file(issuer, tmp_path):
    (tmp_path / "token").write_text(token_of(issuer, "api"))
    done = podpass("token", "verify", "--kubeconfig", str(issuer.kubeconfig), "--audience", "api", str(tmp_path / "token"))
    assert done.returncode == 0, done.stderr


def test_a_token_is_verified_by_the_issuers_own_documents(issuer):
    command = ["token", "verify", "--issuer", issuer.issuer, "--issuer-ca", str(issuer.data / "ca.crt"), "--audience", "api"]
    good = podpass(*command, stdin=token_of(issuer, "api"))
    assert good.returncode == 0, good.stderr
    assert "the token is good: system:serviceaccount:default:default" in good.stdout
    bad = podpass(*command, "-o", "json", stdin=token_of(issuer, "elsewhere"))
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["failedCheck"] == "audience"


def test_the_doctor_says_what_clouds_will_refuse(issuer):
    seen = podpass("doctor", "issuer", issuer.issuer, "--issuer-ca", str(issuer.data / "ca.crt"), "-o", "json")
    assert seen.returncode == 1
    report = json.loads(seen.stdout)
    errors = {finding["check"]: finding["refusedBy"] for finding in report["findings"] if finding["severity"] == "error"}
    assert errors == {"url": ["AWS"], "reach": ["AWS", "GCP", "Azure"], "tls": ["GCP", "Azure"]}, report


def test_users_of_an_oidc_issuer_are_known(issuer, tmp_path):
    with Podpass(tmp_path, "--node", "off", "--oidc-issuer-url", issuer.issuer, "--oidc-client-id", "kubernetes", "--oidc-username-prefix",
                 "other:", "--oidc-ca-file", str(issuer.data / "ca.crt")) as server:
        call = Call(server.url, Credentials(server.kubeconfig, tmp_path))
        known = call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                     {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, token=token_of(issuer, "kubernetes"))
        assert known.code == 201, known
        assert known.json["status"]["userInfo"]["username"] == "other:system:serviceaccount:default:default"
        review = call("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                      {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token_of(issuer, "kubernetes")}})
        assert review.json["status"]["user"]["username"] == "other:system:serviceaccount:default:default", review
        assert call("GET", "/api", token=token_of(issuer, "elsewhere")).code == 401
