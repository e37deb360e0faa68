"""podpass keys: the verbs against a running server, and rotations under load that nobody notices.

PODPASS_SOAK_SECONDS is the length of the soak (default 20; ten minutes show what a day does)."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from podpass import COMMAND_SECONDS, STOP_SECONDS, Call, Credentials, Lines, Podpass, eventually
from test_tokens import claims, header, is_accepted, request_token

MAX_AGE = 2  # seconds that a JWKS may be kept
SOAK_SECONDS = int(os.environ.get("PODPASS_SOAK_SECONDS", "20"))
ROTATE_EVERY = 20 if SOAK_SECONDS >= 120 else 0  # seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A podpass whose keys change within seconds."""
    with Podpass(tmp_path_factory.mktemp("keys"), "--node", "off", "--jwks-max-age", f"{MAX_AGE}s", "--signing-key-algorithm",
                 "ES256") as running:
        yield running


@pytest.fixture(scope="module")
def call(server, tmp_path_factory):
    return Call(server.url, Credentials(server.kubeconfig, tmp_path_factory.mktemp("credentials")))


def run(*words):
    return subprocess.run([os.environ["PODPASS"], "keys", *words], capture_output=True, text=True, timeout=COMMAND_SECONDS + 60, check=False)


def keys(server, *words, code=0):
    ran = run(*words, "--kubeconfig", str(server.kubeconfig))
    assert ran.returncode == code, f"podpass keys {' '.join(words)} exited {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout if code == 0 else ran.stderr


def listed(server):
    return json.loads(keys(server, "list", "-o", "json"))["items"]


def states(server):
    return {key["status"].get("kid"): key["status"].get("state") for key in listed(server) if "status" in key}


def active(server):
    return [kid for kid, state in states(server).items() if state == "Active"]


def new_token(call, audience="api"):
    made = eventually(lambda: (lambda answer: answer if answer.code == 201 else None)(request_token(call, "default", audiences=[audience])),
                      what="a token")
    return made.json["status"]["token"]


def new_api_token(call):
    made = eventually(lambda: (lambda answer: answer if answer.code == 201 else None)(request_token(call, "default")), what="a token")
    return made.json["status"]["token"]


def rotated(server):
    """Rotates, and waits until the new key signs: its kid."""
    before = set(active(server))
    keys(server, "rotate")
    return eventually(lambda: next((kid for kid in active(server) if kid not in before), None), what="a new key that signs")


def test_list_shows_the_key_that_signs(server, call):
    token = new_token(call)
    assert header(token)["kid"] in active(server)
    assert header(token)["kid"] in keys(server, "list")
    assert "kind: SigningKey" in keys(server, "list", "-o", "yaml")
    assert "PRIVATE" not in keys(server, "list", "-o", "json")


def test_rotate_publishes_then_signs_and_the_old_tokens_stay_good(server, call):
    old = new_api_token(call)
    published = {key["kid"] for key in call("GET", "/openid/v1/jwks", token="").json["keys"]}
    keys(server, "rotate")
    shown = eventually(lambda: {key["kid"] for key in call("GET", "/openid/v1/jwks", token="").json["keys"]} - published, what="a published key")
    assert header(new_api_token(call))["kid"] == header(old)["kid"], "it is shown before it signs"
    assert "under way" in keys(server, "rotate", code=1)
    eventually(lambda: header(new_api_token(call))["kid"] in shown, what="a token by the new key")
    assert is_accepted(call, old)
    assert header(old)["kid"] in {key["kid"] for key in call("GET", "/openid/v1/jwks", token="").json["keys"]}


def test_revoke_says_what_breaks_and_ends_the_keys_tokens(server, call):
    old = new_api_token(call)
    rotated(server)
    new = eventually(lambda: (lambda token: token if header(token)["kid"] != header(old)["kid"] else None)(new_api_token(call)), what="a token by the new key")
    kid = header(old)["kid"]
    refusal = keys(server, "revoke", kid, code=1)
    assert "--yes" in refusal and "refused by this issuer" in refusal
    assert is_accepted(call, old)
    assert "is revoked" in keys(server, "revoke", kid, "--yes")
    eventually(lambda: not is_accepted(call, old), what="the end of the key's tokens")
    assert kid not in {key["kid"] for key in call("GET", "/openid/v1/jwks", token="").json["keys"]}
    assert is_accepted(call, new)
    assert "no signing key" in keys(server, "revoke", "unknown", code=1)


def kid_of(key):
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(spki).digest()).rstrip(b"=").decode()


def test_a_kid_that_begins_with_a_dash_can_be_pasted(tmp_path):
    made = (ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(3000))  # one in 64 does
    chosen = [key for _, key in zip(range(2), (key for key in made if kid_of(key).startswith("-")))]
    file = tmp_path / "others.pem"
    file.write_bytes(b"".join(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo) for key in chosen))
    first, second = (kid_of(key) for key in chosen)
    with Podpass(tmp_path, "--node", "off", "--service-account-key-file", file) as running:
        assert first in keys(running, "list") and second in keys(running, "list")
        assert "repeat it with --yes" in keys(running, "revoke", first, code=1)
        assert "is revoked" in keys(running, "revoke", first, "--yes")
        assert "is revoked" in run("revoke", "--yes", "--kubeconfig", str(running.kubeconfig), "--", second).stdout
        published = Call(running.url, Credentials(running.kubeconfig, tmp_path))("GET", "/openid/v1/jwks", token="").json["keys"]
        assert len(published) == 1 and published[0]["kid"] not in (first, second)
    unknown = run("revoke", "-unknown", "rs256-1")
    assert unknown.returncode == 2 and "not expected: -unknown" in unknown.stderr, "it is no kid"


def test_publish_writes_a_site_and_keeps_it_fresh(server, call, tmp_path):
    assert "keys.json" in keys(server, "publish", str(tmp_path))
    discovery = json.loads((tmp_path / ".well-known" / "openid-configuration").read_text())
    assert discovery["issuer"] == server.issuer and discovery["jwks_uri"] == server.issuer + "/keys.json"
    jwks = tmp_path / "keys.json"
    token = new_token(call)
    key = jwt.PyJWK(next(key for key in json.loads(jwks.read_text())["keys"] if key["kid"] == header(token)["kid"]), "ES256")
    assert jwt.decode(token, key.key, algorithms=["ES256"], audience="api")["iss"] == server.issuer
    watching = subprocess.Popen([os.environ["PODPASS"], "keys", "publish", str(tmp_path), "--watch", "--kubeconfig", str(server.kubeconfig)],
                                stdout=subprocess.PIPE, text=True)
    try:
        Lines(watching.stdout).until("keys.json", STOP_SECONDS)
        kid = rotated(server)
        eventually(lambda: kid in jwks.read_text(), what="the new key in the site")
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(STOP_SECONDS) == 0
    finally:
        if watching.poll() is None:
            watching.kill()
            watching.wait()


def test_rewrap_changes_the_key_encryption_key_online(server, call):
    before = (server.data / "kek").read_text()
    token = new_api_token(call)
    said = keys(server, "rewrap", str(server.data / "kek"))
    after = (server.data / "kek").read_text()
    assert after != before and before.strip() not in after
    sealed = {key["status"]["sealedBy"] for key in listed(server) if key["status"]["state"] == "Active"}
    assert len(sealed) == 1 and sealed.pop() in said
    assert is_accepted(call, token)
    new_api_token(call)


@pytest.mark.parametrize("point", ["asked", "published", "signing"])
def test_a_rotation_goes_on_after_a_kill(tmp_path, point):
    options = ["--node", "off", "--jwks-max-age", f"{MAX_AGE}s", "--signing-key-algorithm", "ES256"]
    with Podpass(tmp_path, *options) as running:
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        old = new_api_token(call)
        before = set(active(running))
        keys(running, "rotate")
        if point == "published":
            eventually(lambda: "Published" in states(running).values(), what="a published key")
        if point == "signing":
            eventually(lambda: set(active(running)) - before, what="a new key that signs")
        running.kill()
    with Podpass(tmp_path, *options) as running:
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        assert is_accepted(call, old)
        kid = eventually(lambda: next((kid for kid in active(running) if kid not in before), None), seconds=40, what="a new key that signs")
        eventually(lambda: active(running) == [kid], what="the end of the old one's signing")
        eventually(lambda: header(new_api_token(call))["kid"] == kid, what="a token by the new key")
        assert is_accepted(call, old)
        assert set(states(running).values()) == {"Active", "Retiring"}


def test_publish_leaves_an_explicit_jwks_uri(tmp_path):
    uri = "https://keys.example/jwks"
    with Podpass(tmp_path, "--node", "off", "--jwks-uri", uri) as running:
        assert uri in keys(running, "publish", str(tmp_path / "site"))
        assert json.loads((tmp_path / "site" / ".well-known" / "openid-configuration").read_text())["jwks_uri"] == uri


def test_each_audience_gets_its_algorithm(tmp_path):
    algorithms = {"sts.amazonaws.com": "RS256", "edge": "ES384"}
    options = [word for audience, name in algorithms.items() for word in ("--signing-algorithm-for-audience", f"{audience}={name}")]
    with Podpass(tmp_path, "--node", "off", "--signing-key-algorithm", "EdDSA", *options) as running:
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        own = new_api_token(call)
        assert header(own)["alg"] == "EdDSA" and is_accepted(call, own)
        published = {key["kid"]: key for key in call("GET", "/openid/v1/jwks", token="").json["keys"]}
        assert len(published) == 3
        for audience, algorithm in {**algorithms, "another": "EdDSA"}.items():
            token = new_token(call, audience)
            assert header(token)["alg"] == algorithm
            key = jwt.PyJWK(published[header(token)["kid"]], algorithm).key
            assert jwt.decode(token, key, algorithms=[algorithm], audience=audience)["iss"] == running.issuer


class RelyingParty:
    """Keeps the JWKS for as long as it may, and asks again only then: never because of an unknown kid."""

    def __init__(self, call, offset):
        self._call = call
        self._keys = {}
        self._until = time.monotonic() + offset  # not all at once
        self._fetch()

    def _fetch(self):
        answer = self._call("GET", "/openid/v1/jwks", token="")
        assert answer.headers["Cache-Control"] == f"public, max-age={MAX_AGE}"
        self._keys = {key["kid"]: jwt.PyJWK(key, "ES256").key for key in answer.json["keys"]}

    def check(self, token):
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + MAX_AGE
            self._fetch()
        kid = header(token)["kid"]
        if kid not in self._keys:
            return f"unknown key {kid}"
        jwt.decode(token, self._keys[kid], algorithms=["ES256"], audience="api")
        return None


@pytest.mark.timeout(SOAK_SECONDS + 170)
def test_rotations_under_load_refuse_nobody(server, call, tmp_path):
    """Issue and verify without a pause, three relying parties with caches, rotations one after the other: each 20 s in a long soak."""
    end = time.monotonic() + SOAK_SECONDS
    refusals, counts, kids, failures = [], {"issued": 0, "verified": 0, "rotated": 0}, set(), []

    def load(number):
        party = RelyingParty(call, MAX_AGE * number / 3)
        kept = []  # older tokens are used on, as pods do
        while time.monotonic() < end:
            for audience in ("api", None):
                made = request_token(call, "default", **({"audiences": [audience]} if audience else {}))
                if made.code != 201:
                    refusals.append(f"no token: {made}")
                    continue
                token = made.json["status"]["token"]
                counts["issued"] += 1
                kids.add(header(token)["kid"])
                kept.append((audience, token))
            for audience, token in kept[:2] + kept[-6:]:
                refused = party.check(token) if audience else None if is_accepted(call, token) else "401"
                counts["verified"] += 1
                if refused:
                    refusals.append(f"{refused}, issued {time.time() - claims(token)['iat']:.0f} s ago")
            del kept[2:-50]

    def guarded(number):
        try:
            load(number)
        except Exception as failure:  # shown at the end; a thread's own is lost
            failures.append(repr(failure))

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        while time.monotonic() + 3 * MAX_AGE < end:
            due = time.monotonic() + ROTATE_EVERY
            rotated(server)
            counts["rotated"] += 1
            time.sleep(max(0, min(due, end) - time.monotonic()))
    finally:
        for thread in threads:
            thread.join()
    print(f"soak: {counts}, {len(kids)} keys signed")
    assert not failures, failures[:3]
    assert not refusals, f"{len(refusals)} of {counts}: {refusals[:5]}"
    assert counts["rotated"] >= 2 and len(kids) >= 2 and counts["issued"] > 20, counts
