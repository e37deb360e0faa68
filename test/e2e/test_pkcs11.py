"""Keys that a PKCS#11 token holds: SoftHSM, filled and read by OpenSC's pkcs11-tool, used by a running podpass."""

import json
import os
import pathlib
import re
import subprocess

import jwt
import pytest
from podpass import COMMAND_SECONDS, START_SECONDS, Call, Credentials, Podpass, eventually
from test_tokens import header, is_accepted, request_token

PIN, SO_PIN = "480913", "77218804"
MODULES = [path for path in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so") if pathlib.Path(path).exists()]


class Token:
    """A token of this run's own, with the AES key that wraps the key-encryption key."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "tokens").mkdir()
        self.configuration = directory / "softhsm2.conf"
        self.configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.file("pin", PIN + "\n")
        self.run("softhsm2-util", "--init-token", "--free", "--label", "podpass", "--pin", PIN, "--so-pin", SO_PIN)
        self.tool("--keygen", "--key-type", "AES:32", "--label", "kek", "--id", "01", "--sensitive")

    def file(self, name, text, mode=0o600):
        path = self.directory / name
        path.touch(mode=mode)
        path.chmod(mode)
        path.write_text(text)
        return path

    def run(self, *words):
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=COMMAND_SECONDS,
                              env={**os.environ, "SOFTHSM2_CONF": str(self.configuration)}).stdout

    def tool(self, *words):
        return self.run("pkcs11-tool", "--module", MODULES[0], "--token-label", "podpass", "--login", "--pin", PIN, *words)

    def uri(self, path="", pin="pin"):
        return f"pkcs11:token=podpass{path}?module-path={MODULES[0]}&pin-source={self.directory / pin}"

    def private_keys(self):
        """Labels of the private keys that are in the token."""
        said = self.tool("--list-objects", "--type", "privkey")
        assert "never extractable" in said or not said.strip()
        return re.findall(r"label: +(.+)", said)


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    if not MODULES:
        pytest.skip("there is no SoftHSM (softhsm2)")
    made = Token(tmp_path_factory.mktemp("softhsm"))
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(made.configuration)  # for each podpass that is started here
    yield made
    os.environ.pop("SOFTHSM2_CONF")
    if before is not None:
        os.environ["SOFTHSM2_CONF"] = before


def podpass(token, directory, *more, algorithm="ES256"):
    # the issuer has a name of its own, so that tokens outlive a restart on another port
    return Podpass(directory, "--node", "off", "--issuer", "https://issuer.example", "--jwks-max-age", "2s", "--signing-key-algorithm", algorithm, *more)


def in_token(token):
    return ["--signing-key-pkcs11", token.uri(), "--kek-pkcs11", token.uri(";object=kek")]


def keys(server, *words, code=0):
    ran = subprocess.run([os.environ["PODPASS"], "keys", *words, "--kubeconfig", str(server.kubeconfig)], capture_output=True, text=True,
                         timeout=COMMAND_SECONDS + 60, check=False)
    assert ran.returncode == code, f"podpass keys {' '.join(words)} exited {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout if code == 0 else ran.stderr


def listed(server):
    return json.loads(keys(server, "list", "-o", "json"))["items"]


def active(server):
    return next(key for key in listed(server) if key.get("status", {}).get("state") == "Active")


def caller(server, tmp_path_factory):
    return Call(server.url, Credentials(server.kubeconfig, tmp_path_factory.mktemp("credentials")))


def new_token(call, **more):
    eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the service account")
    answer = request_token(call, "default", **more)
    assert answer.code == 201, answer
    return answer.json["status"]["token"]


def verified_by_jwks(call, made, algorithm):
    """The claims, by PyJWT and the keys that are published."""
    published = call("GET", "/openid/v1/jwks", token="").json["keys"]
    key = jwt.PyJWK(next(key for key in published if key["kid"] == header(made)["kid"]), algorithm)
    return jwt.decode(made, key.key, algorithms=[algorithm], audience="api")


def clear_keys_below(directory):
    """Files with a private key or a key-encryption key in the clear, besides those of certificates, which are not signing keys."""
    certificates = {"ca.key", "server.key", "sts-server.key", "admin.kubeconfig"}
    return [path for path in directory.rglob("*") if path.is_file() and path.name not in certificates and b"PRIVATE KEY" in path.read_bytes()]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_tokens_are_signed_in_the_token_and_rotation_stays_there(token, tmp_path, tmp_path_factory, algorithm):
    with podpass(token, tmp_path, *in_token(token), algorithm=algorithm) as server:
        call = caller(server, tmp_path_factory)
        first = new_token(call)
        assert verified_by_jwks(call, new_token(call, audiences=["api"]), algorithm)["sub"] == "system:serviceaccount:default:default"
        assert is_accepted(call, first)
        key = active(server)
        assert key["status"]["heldBy"].startswith("pkcs11:token=podpass;object=podpass%20")
        assert key["status"]["heldBy"] in keys(server, "list")
        assert f"podpass {key['metadata']['name']}" in token.private_keys()

        keys(server, "rotate")
        second = eventually(lambda: (lambda made: made if header(made)["kid"] != header(first)["kid"] else None)(new_token(call)), what="a token by the next key")
        assert is_accepted(call, first) and is_accepted(call, second)
        assert active(server)["status"]["heldBy"] != key["status"]["heldBy"]
        assert clear_keys_below(server.data) == []
    with podpass(token, tmp_path, *in_token(token), algorithm=algorithm) as server:  # a restart
        call = caller(server, tmp_path_factory)
        assert header(new_token(call))["kid"] == header(second)["kid"]
        assert is_accepted(call, first)
        keys(server, "revoke", key["metadata"]["name"], "--yes")
        eventually(lambda: not is_accepted(call, first), what="the end of the revoked key's tokens")
        eventually(lambda: f"podpass {key['metadata']['name']}" not in token.private_keys(), what="the revoked key's destruction in the token")


def test_an_operators_key_signs_and_the_next_one_can_be_chosen(token, tmp_path, tmp_path_factory):
    token.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "sa", "--id", "0a")
    flags = ["--signing-key-pkcs11", token.uri(";object=sa")]
    with podpass(token, tmp_path, *flags, algorithm="RS256") as server:
        call = caller(server, tmp_path_factory)
        made = new_token(call, audiences=["api"])
        assert verified_by_jwks(call, made, "RS256")
        assert "object=sa;id=%0a" in active(server)["status"]["heldBy"]
        token.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "ceremony-2", "--id", "0b")  # while podpass runs
        keys(server, "rotate", "--object", "ceremony-2")
        eventually(lambda: "object=ceremony-2;id=%0b" in active(server)["status"]["heldBy"], what="the chosen key")
        assert verified_by_jwks(call, new_token(call, audiences=["api"]), "RS256")
        keys(server, "rotate", "--object", "nowhere")
        eventually(lambda: "no private key pkcs11:token=podpass;object=nowhere" in keys(server, "list"), what="why the key is not made")
        assert verified_by_jwks(call, new_token(call, audiences=["api"]), "RS256"), "the one before goes on"


def test_a_key_file_is_left_for_the_token_by_a_rotation(token, tmp_path, tmp_path_factory):
    clear = tmp_path / "sa.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(clear)], check=True, capture_output=True,
                   timeout=COMMAND_SECONDS)
    with podpass(token, tmp_path, *in_token(token), "--service-account-signing-key-file", str(clear)) as server:
        call = caller(server, tmp_path_factory)
        old = new_token(call)
        assert "heldBy" not in active(server)["status"]
        keys(server, "rotate")
        eventually(lambda: active(server)["status"].get("heldBy"), what="a key in the token")
        assert header(new_token(call))["kid"] != header(old)["kid"] and is_accepted(call, old)


def test_the_kek_lies_wrapped_and_is_replaced_online(token, tmp_path, tmp_path_factory):
    flags = ["--kek-pkcs11", token.uri(";object=kek")]
    with podpass(token, tmp_path) as server:  # began without a token
        call = caller(server, tmp_path_factory)
        old = new_token(call)
        clear = (server.data / "kek").read_text()
    with podpass(token, tmp_path, *flags) as server:
        call = caller(server, tmp_path_factory)
        assert "lies in the clear" in server.log()
        assert "would lie in the clear" not in keys(server, "rewrap", str(server.data / "kek"), *flags)
        wrapped = (server.data / "kek").read_text()
        assert wrapped.startswith("wrapped:") and clear.strip() not in wrapped
        assert "would lie in the clear" in keys(server, "rewrap", str(server.data / "kek"), code=1)
        keys(server, "rewrap", str(server.data / "kek"), *flags)
        assert (server.data / "kek").read_text() != wrapped
    with podpass(token, tmp_path, *flags) as server:
        call = caller(server, tmp_path_factory)
        assert is_accepted(call, old) and header(new_token(call))["kid"] == header(old)["kid"]
        assert call("GET", "/api/v1/namespaces/default/secrets").json["items"], "Secrets are opened, too"
    refused = start_fails(tmp_path / "data")
    assert "is wrapped by a PKCS#11 token" in refused and "fix: give --kek-pkcs11 URI" in refused


def start_fails(data, *flags):
    """stderr of a podpass that must not start."""
    ran = subprocess.run([os.environ["PODPASS"], "up", "--data-dir", str(data), "--port", "0", "--node", "off", *flags], capture_output=True, text=True,
                         timeout=START_SECONDS, check=False)
    assert ran.returncode == 1, ran
    assert "ready" not in ran.stdout
    return ran.stderr


def test_a_start_says_what_is_wrong_and_how_to_mend_it(token, tmp_path):
    token.file("wrong", "000000\n")
    token.file("readable", PIN, mode=0o644)
    token.tool("--keypairgen", "--key-type", "EC:secp256k1", "--label", "koblitz", "--id", "0c")
    token.tool("--keypairgen", "--key-type", "EC:edwards25519", "--label", "edwards", "--id", "0d")
    not_a_library = token.file("module.so", "text")
    cases = [
        (["--signing-key-pkcs11", token.uri().replace("token=podpass", "token=other")], "there is no PKCS#11 token pkcs11:token=other; the module has", "connect it"),
        (["--signing-key-pkcs11", token.uri(pin="wrong")], "CKR_PIN_INCORRECT", "write the right PIN"),
        (["--signing-key-pkcs11", token.uri(pin="readable")], "can be read by others", "chmod 600"),
        (["--signing-key-pkcs11", token.uri(pin="nowhere")], "the PIN of the PKCS#11 token", "mend pin-source"),
        (["--signing-key-pkcs11", token.uri(";object=none")], "no private key pkcs11:token=podpass;object=none", "--list-objects"),
        (["--signing-key-pkcs11", token.uri(";object=koblitz")], "on a curve that podpass does not sign with", "P-256"),
        (["--signing-key-pkcs11", token.uri(";object=edwards")], "neither an RSA nor an EC key", "make one"),
        (["--signing-key-pkcs11", token.uri().replace(MODULES[0], "/nowhere/module.so")], "there is no PKCS#11 module /nowhere/module.so", "module-path"),
        (["--signing-key-pkcs11", token.uri().replace(MODULES[0], str(not_a_library))], "cannot load the PKCS#11 module", "module-path"),
        (["--signing-key-pkcs11", token.uri().replace(MODULES[0], "/lib/x86_64-linux-gnu/libz.so.1")], "no PKCS#11 module", "module-path"),
        (["--signing-key-pkcs11", f"pkcs11:token=podpass?module-path={MODULES[0]}&pin-value={PIN}"], "holds a PIN", "pin-source=FILE"),
        (["--signing-key-pkcs11", "pkcs11:token=podpass"], "names no module", "module-path"),
        (["--signing-key-pkcs11", token.uri(), "--signing-key-algorithm", "EdDSA"], "not EdDSA", "another algorithm"),
        (["--kek-pkcs11", token.uri(";object=none")], "has 0 AES keys pkcs11:token=podpass;object=none", "--keygen"),
        (["--kek-pkcs11", token.uri(pin="wrong")], "--kek-pkcs11: the PKCS#11 token", "right PIN"),
    ]
    for number, (flags, sentence, fix) in enumerate(cases):
        said = start_fails(tmp_path / str(number), *flags)
        assert sentence in said, (flags, said)
        assert "fix: " in said and fix in said.split("fix: ")[1], (flags, said)
        assert PIN not in said and "000000" not in said
        assert not list((tmp_path / str(number)).glob("kek")) or "--kek-pkcs11" not in flags, "no key-encryption key is made that nobody wraps"


def test_keys_in_a_token_that_is_not_given_any_more(token, tmp_path):
    with podpass(token, tmp_path, "--signing-key-pkcs11", token.uri()):
        pass
    said = start_fails(tmp_path / "data", "--signing-key-algorithm", "ES256")
    assert "is held by pkcs11:token=podpass" in said and "fix: give --signing-key-pkcs11 URI" in said
