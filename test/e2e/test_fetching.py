"""From where the documents of others' issuers may be fetched."""

import json
import os
import subprocess

import pytest
from podpass import COMMAND_SECONDS, STOP_SECONDS, Call, Credentials, Lines, Podpass
from test_verifiers import ask, issuer, token_of  # noqa: F401 (a fixture)


def podpass(*words, stdin=""):
    return subprocess.run([os.environ["PODPASS"], *words], input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def verify(server, *options, url=None):
    return podpass("token", "verify", "--issuer", url or server.issuer, "--issuer-ca", str(server.data / "ca.crt"), "--audience", "api", "-o",
                   "json", *options, stdin=token_of(server, "api"))


@pytest.mark.parametrize("options, good", [
    ((), True),
    (("--fetch-deny", "127.0.0.0/8"), False),
    (("--fetch-deny", "0.0.0.0/0", "--fetch-deny", "::/0"), False),
    (("--fetch-deny", "0.0.0.0/0", "--fetch-deny", "::/0", "--fetch-allow", "127.0.0.1"), True),
    (("--fetch-deny", "10.0.0.0/8"), True),
])
def test_a_verifier_fetches_from_where_it_may(issuer, options, good):  # noqa: F811
    done = verify(issuer, *options)
    assert done.returncode == (0 if good else 1), done.stdout + done.stderr
    if not good:
        refused = json.loads(done.stdout)
        assert refused["failedCheck"] == "discovery" and "is excluded" in refused["message"]


def test_the_doctor_obeys_too(issuer):  # noqa: F811
    seen = podpass("doctor", "issuer", issuer.issuer, "--issuer-ca", str(issuer.data / "ca.crt"), "--fetch-deny", "127.0.0.1")
    assert seen.returncode == 1 and "is excluded" in seen.stdout


def test_metadata_services_are_never_asked_unless_they_are_named():
    for address in ("169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"):
        seen = podpass("doctor", "issuer", f"https://{address}")
        assert seen.returncode == 1 and "is excluded" in seen.stdout, seen.stdout


def test_what_is_no_cidr_is_refused(issuer):  # noqa: F811
    for verb in (["token", "verify"], ["doctor", "issuer", "https://issuer.example"], ["up", "--data-dir", "x"],
                 ["verify", "--issuer", "https://issuer.example", "--audience", "api"], ["sts", "--data-dir", "x"]):
        done = podpass(*verb, "--fetch-deny", "10.0.0.0/33")
        assert done.returncode == 2 and "CIDR" in done.stderr, done.stderr


def test_the_service_that_verifies_obeys(issuer):  # noqa: F811
    process = subprocess.Popen([os.environ["PODPASS"], "verify", "--listen", "127.0.0.1:0", "--issuer", issuer.issuer, "--audience", "api",
                                "--issuer-ca", str(issuer.data / "ca.crt"), "--fetch-deny", "127.0.0.0/8"], stdout=subprocess.PIPE, text=True)
    try:
        url = Lines(process.stdout).until("/verify", STOP_SECONDS).split(" at ")[1].strip()
        assert ask(url, token_of(issuer, "api"))[0] == 503
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_oidc_users_and_sts_obey(issuer, tmp_path):  # noqa: F811
    with Podpass(tmp_path, "--node", "off", "--oidc-issuer-url", issuer.issuer, "--oidc-client-id", "kubernetes", "--oidc-ca-file",
                 str(issuer.data / "ca.crt"), "--fetch-deny", "127.0.0.0/8", "--skew", "30") as server:
        call = Call(server.url, Credentials(server.kubeconfig, tmp_path))
        assert call("GET", "/api", token=token_of(issuer, "kubernetes")).code != 200
        form = ("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/none&RoleSessionName=session"
                "&WebIdentityToken=" + token_of(server, "sts.amazonaws.com"))
        sts = Call(json.loads((server.data / "endpoints.json").read_text())["sts"], Credentials(server.kubeconfig, tmp_path))
        answer = sts("POST", "/", form, headers={"Content-Type": "application/x-www-form-urlencoded"}, token="")
        assert answer.code == 400 and b"Couldn't retrieve verification key" in answer.body, answer  # which no SDK tries again
