"""Tokens that this very key signed, and that are refused all the same: expired, not yet valid, of another issuer, key or subject."""

import base64
import os
import subprocess
import time
import uuid

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from podpass import COMMAND_SECONDS, Call, Credentials, Podpass, eventually
from test_tokens import API_AUDIENCE, assert_unauthorized, claims, header, review, token_of

HOUR = 3600


CLUSTER_ISSUER = "https://kubernetes.default.svc.cluster.local"  # a kube-apiserver's, and by default its audience


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def written(key, file):
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(file)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A podpass whose signing key the test has made: (call, key)."""
    directory = tmp_path_factory.mktemp("known-key")
    key = new_key()
    with Podpass(directory, "--node", "off", "--service-account-signing-key-file", written(key, directory / "key.pem")) as running:
        call = Call(running.url, Credentials(running.kubeconfig, directory))
        eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the default account")
        yield call, key


@pytest.fixture
def token(known):
    return token_of(known[0], "default")


def signed(token, key, **changes):
    """The token with other claims, signed as the server would."""
    said = {**claims(token), **changes}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, key, algorithm="RS256",
                      headers={"kid": header(token)["kid"], "typ": None})


def refused(call, token):
    assert_unauthorized(call("GET", "/api", token=token))
    status = review(call, token)
    assert not status.get("authenticated"), status
    return status["error"]


def test_the_key_is_the_servers_own(known, token):
    call, key = known
    assert call("GET", "/api", token=signed(token, key)).code == 200, "or the refusals below would prove nothing"


def test_an_expired_token_is_refused_after_a_minute_of_leeway(known, token):
    call, key = known
    now = int(time.time())
    long_ago = {"iat": now - 2 * HOUR, "nbf": now - 2 * HOUR}
    assert call("GET", "/api", token=signed(token, key, **long_ago, exp=now - 30)).code == 200, "Kubernetes allows clocks to differ by a minute"
    assert "expired" in refused(call, signed(token, key, **long_ago, exp=now - 61))


@pytest.mark.parametrize("changes, words", [
    ({"nbf": int(time.time()) + HOUR}, "not valid yet"),
    ({"iss": "https://issuer.example"}, ""),
    ({"iss": None}, ""),
    ({"aud": ["https://other.example"]}, "audience"),
    ({"exp": None}, ""),
    ({"sub": "system:serviceaccount:default:other"}, ""),
    ({"kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "default", "uid": "00000000-0000-4000-8000-000000000000"}}}, ""),
    ({"kubernetes.io": None}, ""),
    ({"exp": "tomorrow"}, ""),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else "")
def test_a_claim_that_does_not_hold_is_refused(known, token, changes, words):
    assert words in refused(known[0], signed(token, known[1], **changes))


def test_another_key_under_the_same_id_is_refused(known, token):
    refused(known[0], signed(token, new_key()))


def test_a_token_of_another_podpass_is_refused(known, call, namespace):
    theirs = token_of(call, namespace)
    assert claims(theirs)["aud"] == [API_AUDIENCE]
    refused(known[0], theirs)


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory):
    """A podpass in the place of a kube-apiserver that had no --api-audiences: (call, key, the default account's uid)."""
    directory = tmp_path_factory.mktemp("taken-over")
    key = new_key()
    file = written(key, directory / "sa.key")
    with Podpass(directory, "--node", "off", "--issuer", CLUSTER_ISSUER, "--api-audiences", CLUSTER_ISSUER, "--service-account-lookup=true",
                 "--service-account-signing-key-file", file, "--service-account-key-file", file) as running:
        call = Call(running.url, Credentials(running.kubeconfig, directory))
        account = eventually(lambda: (lambda answer: answer if answer.code == 200 else None)(
            call("GET", "/api/v1/namespaces/default/serviceaccounts/default")), what="the default account")
        yield call, key, account.json["metadata"]["uid"]


def kid_of(call):
    return call("GET", "/openid/v1/jwks", token="").json["keys"][0]["kid"]


def test_the_tokens_that_pods_have_outlive_a_takeover(taken_over):
    call, key, uid = taken_over
    now = int(time.time())
    said = {"aud": [CLUSTER_ISSUER], "exp": now + HOUR, "iat": now, "nbf": now, "iss": CLUSTER_ISSUER, "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "default", "uid": uid}},
            "sub": "system:serviceaccount:default:default"}
    theirs = jwt.encode(said, key, algorithm="RS256", headers={"kid": kid_of(call), "typ": None})
    assert call("GET", "/api", token=theirs).code == 200
    refused(call, jwt.encode({**said, "aud": [API_AUDIENCE]}, key, algorithm="RS256", headers={"kid": kid_of(call), "typ": None}))
    ours = token_of(call, "default")
    assert claims(ours)["aud"] == [CLUSTER_ISSUER] and claims(ours)["iss"] == CLUSTER_ISSUER
    assert call("GET", "/api", token=ours).code == 200


def test_a_legacy_token_outlives_a_takeover(taken_over):
    call, key, uid = taken_over
    prefix = "kubernetes.io/serviceaccount/"
    said = {"iss": "kubernetes/serviceaccount", prefix + "namespace": "default", prefix + "secret.name": "theirs",
            prefix + "service-account.name": "default", prefix + "service-account.uid": uid, "sub": "system:serviceaccount:default:default"}
    token = jwt.encode(said, key, algorithm="RS256", headers={"kid": kid_of(call), "typ": None})
    refused(call, token)
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
              "metadata": {"name": "theirs", "annotations": {"kubernetes.io/service-account.name": "default", "kubernetes.io/service-account.uid": uid}},
              "data": {"token": base64.b64encode(token.encode()).decode()}}
    assert call("POST", "/api/v1/namespaces/default/secrets", secret).code == 201
    assert call("GET", "/api", token=token).code == 200


@pytest.mark.parametrize("flag, words", [
    ("--service-account-max-token-expiration=10", "must be between 1 hour and 2^32 seconds"),
    ("--service-account-max-token-expiration=-5", "must be between 1 hour and 2^32 seconds"),
    ("--service-account-max-token-expiration=59m", "must be between 1 hour and 2^32 seconds"),
    ("--service-account-max-token-expiration=4294967297", "must be between 1 hour and 2^32 seconds"),
    ("--service-account-max-token-expiration=soon", "not a duration"),
    ("--service-account-lookup=false", "leave the flag out"),
], ids=lambda value: value.split("=")[-1] if value.startswith("--") else "")
def test_a_flag_that_weakens_or_contradicts_is_refused(tmp_path, flag, words):
    ran = subprocess.run([os.environ["PODPASS"], "apiserver", "--data-dir", str(tmp_path / "data"), "--port", "0", flag], capture_output=True,
                         text=True, timeout=COMMAND_SECONDS, check=False)
    assert ran.returncode == 2 and words in ran.stderr, ran
    assert not (tmp_path / "data").exists()


def test_the_longest_life_is_given_as_kube_apiserver_takes_it(tmp_path):
    with Podpass(tmp_path, "--node", "off", "--service-account-max-token-expiration", "1h") as running:
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the default account")
        token = claims(token_of(call, "default", expirationSeconds=2 * HOUR))
        assert token["exp"] - token["iat"] == HOUR
