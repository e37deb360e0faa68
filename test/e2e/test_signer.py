"""podpass signer: what a kube-apiserver would call, by gRPC's own Python client, and a podpass that signs by it."""

import json
import os
import pathlib
import signal
import stat
import subprocess
import tempfile
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from podpass import COMMAND_SECONDS, START_SECONDS, STOP_SECONDS, Lines, Podpass, eventually
from test_pkcs11 import token  # noqa: F401 (a fixture)
from test_tokens import header, is_accepted, request_token

grpc = pytest.importorskip("grpc", reason="a client in Python needs python3-grpcio")
from external_jwt_signer import Client, encode  # noqa: E402 (after the check)
from test_external_signer import caller, new_token, published  # noqa: E402


class Signer:
    """`podpass signer`, ready when made."""

    def __init__(self, place, *options):
        self.socket = place / "s"
        self.data = place / "signer"
        self._log = place / "signer.stderr"
        with self._log.open("ab") as errors:
            self.process = subprocess.Popen([os.environ["PODPASS"], "signer", "--data-dir", str(self.data), "--listen", str(self.socket), *options],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            Lines(self.process.stdout).until("podpass signer is ready", START_SECONDS)
        except AssertionError as failure:
            self.end(signal.SIGKILL)
            raise AssertionError(f"{failure}: {self.log()}") from None

    def log(self):
        return self._log.read_text(errors="replace")[-4000:]

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(STOP_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="podpass-") as made:  # a short path: a socket's is 107 characters at most
        yield pathlib.Path(made)


def claims_for(seconds=600, **more):
    now = int(time.time())
    return encode(json.dumps({"aud": ["api"], "exp": now + seconds, "iat": now, "iss": "https://issuer.example", "sub": "system:serviceaccount:a:b",
                              **more}).encode())


def compact(client, claims):
    answer = client.Sign(claims=claims)
    return f"{answer.header}.{claims}.{answer.signature}"


def keys_of(client):
    return {key.key_id: load_der_public_key(key.key) for key in client.FetchKeys().keys}


@pytest.mark.parametrize("package", ["v1", "v1alpha1"])
@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "RS256"])
def test_a_client_of_the_protocol_gets_tokens_and_the_keys_that_verify_them(place, package, algorithm):
    with Signer(place, "--signing-key-algorithm", algorithm) as signer, Client(signer.socket, package) as client:
        assert stat.S_IMODE(signer.socket.stat().st_mode) == 0o600
        made = compact(client, claims_for())
        assert header(made) == {"alg": algorithm, "kid": header(made)["kid"], "typ": "JWT"}
        assert jwt.decode(made, keys_of(client)[header(made)["kid"]], algorithms=[algorithm], audience="api")["sub"] == "system:serviceaccount:a:b"
        fetched = client.FetchKeys()
        assert fetched.refresh_hint_seconds == 1800 and abs(fetched.data_timestamp.seconds - time.time()) < 60
        assert not any(key.exclude_from_oidc_discovery for key in fetched.keys)
        assert client.Metadata().max_token_expiration_seconds == 365 * 86400
        assert signer.end() == 0
        assert not signer.socket.exists()


def test_claims_that_are_not_signed(place):
    with Signer(place, "--signing-key-algorithm", "ES256", "--only-issuer", "https://issuer.example", "--max-token-expiration", "1h") as signer, \
            Client(signer.socket) as client:
        assert client.Metadata().max_token_expiration_seconds == 3600
        for asked, says in [("", "not a JSON object"), ("###", "not base64url"), (encode(b"[1]"), "not a JSON object"), (encode(b"{}"), "no exp"),
                            (claims_for(3700), "later than 3600 seconds"), (claims_for(iss="https://other.example"), "only those of"),
                            (claims_for(filler="x" * 60_000), "larger than 64 KiB")]:
            with pytest.raises(grpc.RpcError) as refused:
                client.Sign(claims=asked)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT and says in refused.value.details()
        with pytest.raises(grpc.RpcError) as refused:
            client.Sign(claims="A" * 1_000_000)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert compact(client, claims_for(3600))
        assert "eyJ" not in signer.log()


def podpass(place, signer):
    return Podpass(place, "--node", "off", "--service-account-signing-endpoint", str(signer.socket))


def test_podpass_by_podpass_through_a_rotation_and_a_crash(place, tmp_path):
    options = ["--signing-key-algorithm", "ES256", "--jwks-max-age", "2s"]
    signer = Signer(place, *options)
    try:
        with podpass(place, signer) as server:
            call = caller(server, tmp_path)
            first = new_token(call)
            assert is_accepted(call, first) and header(first)["typ"] == "JWT"
            assert jwt.decode(new_token(call, audiences=["api"]), jwt.PyJWK(published(call)[header(first)["kid"]]).key, algorithms=["ES256"], audience="api")

            signer.process.send_signal(signal.SIGUSR1)
            shown = eventually(lambda: set(published(call)) - {header(first)["kid"]}, what="the next key in the JWKS")
            made = eventually(lambda: (lambda made: made if header(made)["kid"] in shown else None)(new_token(call)), what="a token by the next key")
            assert is_accepted(call, first) and is_accepted(call, made)

            signer.end(signal.SIGKILL)
            assert signer.socket.exists(), "a crash leaves its socket behind"
            assert is_accepted(call, made), "who only verifies needs no signer"
            assert request_token(call, "default").code == 500
            signer = Signer(place, *options)
            again = eventually(lambda: (lambda answer: answer.code == 201 and answer.json["status"]["token"])(request_token(call, "default")),
                               what="a token after the crash")
            assert header(again)["kid"] == header(made)["kid"] and is_accepted(call, again) and is_accepted(call, first)
    finally:
        signer.end()


def test_the_signers_keys_are_in_a_pkcs11_token(place, tmp_path, token):  # noqa: F811
    with Signer(place, "--signing-key-algorithm", "RS256", "--signing-key-pkcs11", token.uri(), "--kek-pkcs11", token.uri(";object=kek")) as signer, \
            podpass(place, signer) as server:
        call = caller(server, tmp_path)
        made = new_token(call)
        assert is_accepted(call, made)
        assert not any(b"PRIVATE KEY" in file.read_bytes() for file in signer.data.rglob("*") if file.is_file())
        assert any(label.startswith("podpass rs256-") for label in token.private_keys())


def test_a_key_file_is_taken_over(place):
    clear = place / "sa.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(clear)], check=True, capture_output=True,
                   timeout=COMMAND_SECONDS)
    public = subprocess.run(["openssl", "pkey", "-in", str(clear), "-pubout", "-outform", "DER"], check=True, capture_output=True,
                            timeout=COMMAND_SECONDS).stdout
    with Signer(place, "--service-account-signing-key-file", str(clear)) as signer, Client(signer.socket) as client:
        assert public in {key.key for key in client.FetchKeys().keys}
        made = compact(client, claims_for())
        assert jwt.decode(made, load_der_public_key(public), algorithms=["RS256"], audience="api")


def start_fails(*options):
    ran = subprocess.run([os.environ["PODPASS"], "signer", *options], capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert ran.returncode == 1, ran
    return ran.stderr


def test_a_start_says_what_is_wrong(place):
    with Signer(place, "--signing-key-algorithm", "ES256") as signer:
        other = str(place / "other")
        assert "a signer is listening" in start_fails("--data-dir", other, "--listen", str(signer.socket), "--signing-key-algorithm", "ES256")
        assert "fix:" in start_fails("--data-dir", str(signer.data), "--listen", str(place / "t")), "its directory is locked"
    (place / "file").write_text("mine")
    assert "is there, and no socket" in start_fails("--data-dir", other, "--listen", str(place / "file"))
    assert (place / "file").read_text() == "mine"
    assert "1 to 107 bytes" in start_fails("--data-dir", other, "--listen", str(place / ("s" * 108)))
    assert "not between 10 minutes and" in start_fails("--data-dir", other, "--max-token-expiration", "9m")
    assert "no private key" in start_fails("--data-dir", other, "--service-account-signing-key-file", write_public(place))


def write_public(place):
    made = subprocess.run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout", shell=True, check=True, capture_output=True,
                          timeout=COMMAND_SECONDS).stdout
    (place / "public").write_bytes(made)
    return str(place / "public")
