"""Tokens that another program signs (KEP-740): podpass with a signer that was not written here."""

import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

import jwt
import pytest
from podpass import START_SECONDS, Call, Credentials, Podpass, eventually
from test_tokens import claims, header, is_accepted, request_token

grpc = pytest.importorskip("grpc", reason="a signer in Python needs python3-grpcio")
from external_jwt_signer import Signer, SignerKey, encode  # noqa: E402 (after the check)


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="podpass-") as made:  # a short path: a socket's is 107 characters at most
        yield pathlib.Path(made)


@pytest.fixture
def signer(place):
    with Signer(place / "s") as running:
        yield running


def podpass(place, *more):
    return Podpass(place, "--node", "off", "--service-account-signing-endpoint", str(place / "s"), *more)


def caller(server, tmp_path):
    call = Call(server.url, Credentials(server.kubeconfig, tmp_path))
    eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the service account")
    return call


def new_token(call, **more):
    answer = request_token(call, "default", **more)
    assert answer.code == 201, answer
    return answer.json["status"]["token"]


def published(call):
    return {key["kid"]: key for key in call("GET", "/openid/v1/jwks", token="").json["keys"]}


def refusal(call):
    answer = request_token(call, "default", audiences=["api"])
    assert answer.code == 500 and answer.json["reason"] == "InternalError", answer
    assert answer.json["message"].startswith("Internal error occurred: failed to generate token: "), answer
    return answer.json["message"].removeprefix("Internal error occurred: failed to generate token: ")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_the_signer_signs_and_everybody_verifies_by_its_keys(place, tmp_path, signer, algorithm):
    signer.keys = [SignerKey("hidden", "ES256", excluded=True), SignerKey("a/key of ours", algorithm)]
    with podpass(place) as server:
        call = caller(server, tmp_path)
        made = new_token(call, audiences=["api"])
        assert header(made) == {"alg": algorithm, "kid": "a/key of ours", "typ": "JWT"}
        assert signer.claims[-1] == claims(made) and claims(made)["aud"] == ["api"]
        assert list(published(call)) == ["a/key of ours"], "an excluded key is not published"
        assert jwt.decode(made, jwt.PyJWK(published(call)["a/key of ours"]).key, algorithms=[algorithm], audience="api")["iss"] == server.issuer
        assert call("GET", "/.well-known/openid-configuration", token="").json["id_token_signing_alg_values_supported"] == [algorithm]
        reviewed = call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": made, "audiences": ["api"]}}).json["status"]
        assert reviewed["authenticated"] and reviewed["user"]["username"] == "system:serviceaccount:default:default"
        assert is_accepted(call, new_token(call))
        assert not list(server.data.glob("*sign*")) and call("GET", "/apis/identity.podpass.dev/v1/signingkeys").json["items"] == [], "no key of our own"
        metrics = call("GET", "/metrics").body.decode()
        assert 'apiserver_externaljwt_sign_request_total{code="OK"} 2' in metrics
        assert "apiserver_externaljwt_fetch_keys_success_timestamp 1" in metrics or "apiserver_externaljwt_fetch_keys_success_timestamp 2" in metrics


def test_an_excluded_key_still_verifies(place, tmp_path, signer):
    with podpass(place) as server:
        call = caller(server, tmp_path)
        old = new_token(call)
        signer.keys[0].excluded = True
        signer.keys.append(SignerKey("second"))
        assert header(new_token(call))["kid"] == "second", "a key that signs before it was told is asked for"
        assert list(published(call)) == ["second"]
        assert is_accepted(call, old)
        signer.keys.append(signer.keys.pop(0))
        assert refusal(call) == "while validating header: key used for signing JWT (kid: first) is excluded from OIDC discovery docs"


def test_keys_are_fetched_when_the_signer_wants_it_and_cached_no_longer(place, tmp_path, signer):
    signer.hint = 2
    with podpass(place) as server:
        call = caller(server, tmp_path)
        ages = {call("GET", "/openid/v1/jwks", token="").headers["Cache-Control"] for _ in range(3)}
        assert ages <= {"public, max-age=0", "public, max-age=1", "public, max-age=2"}
        old = new_token(call)
        signer.keys.append(SignerKey("second"))
        eventually(lambda: "second" in published(call), what="the key that the signer added")
        assert header(new_token(call))["kid"] == "second" and is_accepted(call, old)
        signer.keys.pop(0)
        eventually(lambda: "first" not in published(call), what="the end of the key that the signer dropped")
        eventually(lambda: not is_accepted(call, old), what="the end of its tokens")
        signer.hint = -1
        fetched = signer.fetches
        eventually(lambda: signer.fetches > fetched, what="a fetch that fails")
        assert is_accepted(call, new_token(call)), "the keys that are known stay"


def test_what_a_signer_may_not_answer(place, tmp_path, signer):
    with podpass(place) as server:
        call = caller(server, tmp_path)
        good = signer.header
        cases = [
            (lambda key: {**good(key), "typ": "at+jwt"}, None, "while validating header: bad type"),
            (lambda key: {**good(key), "alg": "none"}, None, 'while validating header: bad signing algorithm "none"'),
            (lambda key: {**good(key), "kid": ""}, None, "while validating header: key id missing"),
            (lambda key: {**good(key), "kid": "k" * 1025}, None, "while validating header: key id longer than 1 kb"),
            (lambda key: {**good(key), "jku": "https://evil.example"}, None, 'unknown field "jku"'),
            (lambda key: {**good(key), "kid": "unknown"}, None, "is not among those that the signer offers"),
            (good, lambda key, data: "", "empty signature returned"),
            (good, lambda key, data: encode(key.sign(data + b"x")), 'not one of the key "first"'),
            (good, lambda key, data: encode(b"short"), 'not one of the key "first"'),
            (good, lambda key, data: "A" * 200_000, "no token"),
        ]
        right = signer.signature
        for spoiled, signature, says in cases:
            signer.header, signer.signature = spoiled, signature or right
            said = refusal(call)
            assert says in said, (said, says)
            assert "eyJ" not in said, "nothing of a token is told"
        signer.header, signer.signature = good, right
        assert is_accepted(call, new_token(call))


def test_a_signer_that_is_away_or_slow_holds_up_nobody_else(place, tmp_path, signer):
    with podpass(place) as server:
        call = caller(server, tmp_path)
        token = new_token(call)
        signer.delay = 15
        began = time.monotonic()
        said = []
        waiting = [threading.Thread(target=lambda: said.append(refusal(call))) for _ in range(4)]
        for thread in waiting:
            thread.start()
        while any(thread.is_alive() for thread in waiting):
            asked = time.monotonic()
            assert is_accepted(call, token)
            assert time.monotonic() - asked < 5, "verification does not wait for the signer"
            time.sleep(0.2)
        assert time.monotonic() - began < 14
        assert all("while signing jwt: rpc error: code = DeadlineExceeded" in each for each in said), said
        signer.delay = 0
        signer.stop()
        assert is_accepted(call, token)
        assert "while signing jwt: rpc error: code = DeadlineExceeded" in refusal(call)
        signer.start()
        assert is_accepted(call, eventually(lambda: (lambda answer: answer.code == 201 and answer.json["status"]["token"])(request_token(call, "default")),
                                            what="a token after the signer came back"))


def test_the_signers_longest_life_is_kept(place, tmp_path, signer):
    signer.longest = 3600
    with podpass(place) as server:
        call = caller(server, tmp_path)
        answer = request_token(call, "default", expirationSeconds=7200)
        assert answer.code == 201 and answer.json["spec"]["expirationSeconds"] == 3600
        assert "requested expiration of 7200 seconds shortened to 3600 seconds" in answer.headers["Warning"]
        made = claims(answer.json["status"]["token"])
        assert made["exp"] - made["iat"] == 3600


def start_fails(place, *flags, seconds=START_SECONDS):
    ran = subprocess.run([os.environ["PODPASS"], "up", "--data-dir", str(place / "data"), "--port", "0", "--node", "off", *flags], capture_output=True,
                         text=True, timeout=seconds, check=False)
    assert ran.returncode == 1, ran
    return ran.stderr


def test_flags_that_exclude_each_other(place):
    endpoint = ["--service-account-signing-endpoint", str(place / "s")]
    for flags, says in [
        (["--service-account-signing-key-file", "x"],
         "service-account-signing-key-file and service-account-signing-endpoint are mutually exclusive and cannot be set at the same time"),
        (["--service-account-key-file", "x"],
         "cannot set mutually exclusive flags `--service-account-key-file` and `--service-account-signing-endpoint` at the same time"),
        (["--signing-key-pkcs11", "pkcs11:token=x"], "signing-key-pkcs11 and service-account-signing-endpoint are mutually exclusive"),
        (["--signing-key-rotation", "30d"], "an external signer chooses its keys itself"),
    ]:
        said = start_fails(place, *endpoint, *flags)
        assert says in said and "fix: leave one of them out" in said
    assert "no path of a Unix socket" in start_fails(place, "--service-account-signing-endpoint", "/" + "s" * 200)


def test_a_start_waits_for_the_signer_and_says_why_it_gave_up(place, signer):
    signer.stop()
    said = start_fails(place, "--service-account-signing-endpoint", str(place / "s"))
    assert "while fetching metadata: rpc error: code = DeadlineExceeded" in said and f"fix: is the external signer running, and listening on {place / 's'}?" in said
    signer.start()
    signer.longest = 599
    assert "max token life supported by external-jwt-signer (599s) is less than acceptable (min 600s)" in start_fails(
        place, "--service-account-signing-endpoint", str(place / "s"))
    signer.longest = 7200
    assert "cannot be set longer than the token expiration supported by service-account-signing-endpoint: 7201 > 7200" in start_fails(
        place, "--service-account-signing-endpoint", str(place / "s"), "--service-account-max-token-expiration", "7201")
    signer.hint = 0
    assert "found invalid refresh hint (0s)" in start_fails(place, "--service-account-signing-endpoint", str(place / "s"))


def test_a_signer_of_the_alpha_is_understood(place, tmp_path):
    with Signer(place / "s", package="v1alpha1"), podpass(place) as server:
        assert is_accepted(caller(server, tmp_path), new_token(caller(server, tmp_path)))


def test_a_rotation_asked_of_podpass_says_whose_it_is(place, signer):
    with podpass(place) as server:
        command = [os.environ["PODPASS"], "keys", "rotate", "--kubeconfig", str(server.kubeconfig)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        shown = [os.environ["PODPASS"], "keys", "list", "-o", "json", "--kubeconfig", str(server.kubeconfig)]
        eventually(lambda: "tokens are signed by --service-account-signing-endpoint" in json.dumps(
            json.loads(subprocess.run(shown, check=True, capture_output=True, text=True, timeout=30).stdout)), what="the reason")
