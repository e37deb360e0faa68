"""Tokens that this very key signed, and that are refused all the same: expired, not yet valid, of another issuer, key or subject."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from podpass import Call, Credentials, Podpass, eventually
from test_tokens import API_AUDIENCE, assert_unauthorized, claims, header, review, token_of

HOUR = 3600


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A podpass whose signing key the test has made: (call, key)."""
    directory = tmp_path_factory.mktemp("known-key")
    key = new_key()
    file = directory / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with Podpass(directory, "--node", "off", "--service-account-signing-key-file", str(file)) as running:
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
