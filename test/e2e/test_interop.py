"""Tokens and keys of other tools, both ways: npm's jose, ssh-keygen and openssl."""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from podpass import COMMAND_SECONDS, Call, Credentials, Podpass, fetched

JOSE = pathlib.Path(__file__).parent / "client_jose.mjs"
ALGORITHMS = ["RS256", "ES256", "ES384", "ES512", "EdDSA"]
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
ISSUER = "https://issuer.example"


def jose(*words, stdin="", ca=""):
    if not shutil.which("node") or not fetched("jose/package.json"):
        pytest.skip("jose was not fetched (no npm, or no registry: see the test `clients`)")
    done = subprocess.run(["node", str(JOSE), *words], input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
                          env=dict(os.environ, NODE_EXTRA_CA_CERTS=ca))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tampered(token):
    """The same with another subject."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["sub"] = "system:serviceaccount:kube-system:default"
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode(), signature])


class Issuing:
    def __init__(self, running, directory):
        self.issuer = running.issuer
        self.credentials = Credentials(running.kubeconfig, directory)
        self.call = Call(running.url, self.credentials)

    def token(self, audience):
        made = self.call("POST", TOKEN, {"spec": {"audiences": [audience]}})
        assert made.code == 201, made
        return made.json["status"]["token"]


@pytest.fixture(scope="module")
def issuing(tmp_path_factory):
    """Each algorithm signs for the audience of its name."""
    directory = tmp_path_factory.mktemp("issuing")
    choices = [word for algorithm in ALGORITHMS for word in ("--signing-algorithm-for-audience", f"{algorithm}={algorithm}")]
    with Podpass(directory, "--node", "off", *choices) as running:
        yield Issuing(running, directory)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_jose_verifies_what_podpass_signs(issuing, algorithm):
    token = issuing.token(algorithm)
    seen = jose("verify", issuing.issuer, algorithm, stdin=token, ca=issuing.credentials.ca)
    assert seen["header"]["alg"] == algorithm and seen["payload"]["sub"] == "system:serviceaccount:default:default", seen
    assert jose("verify", issuing.issuer, "elsewhere", stdin=token, ca=issuing.credentials.ca) == {"refused": "ERR_JWT_CLAIM_VALIDATION_FAILED"}
    assert jose("verify", issuing.issuer, algorithm, stdin=tampered(token), ca=issuing.credentials.ca) == {"refused": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_podpass_verifies_what_jose_signs(algorithm, tmp_path):
    made = jose("sign", algorithm, ISSUER, "api")

    def verified(token, audience="api", jwks=made["jwks"]):
        (tmp_path / "jwks.json").write_text(json.dumps(jwks))
        done = subprocess.run([os.environ["PODPASS"], "token", "verify", "--jwks", str(tmp_path / "jwks.json"), "--issuer", ISSUER, "--audience", audience,
                               "-o", "json"], input=token, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        return done.returncode, json.loads(done.stdout)

    code, seen = verified(made["token"])
    assert (code, seen["user"]) == (0, "somebody"), seen
    for token, audience, check in ((tampered(made["token"]), "api", "signature"), (made["token"], "elsewhere", "audience")):
        code, seen = verified(token, audience)
        assert (code, seen["failedCheck"]) == (1, check), seen
    another = jose("sign", algorithm, ISSUER, "api")["jwks"]
    assert verified(made["token"], jwks=another)[1]["failedCheck"] == "key id"
    another["keys"][0]["kid"] = made["jwks"]["keys"][0]["kid"]  # under the same name
    assert verified(made["token"], jwks=another)[1]["failedCheck"] == "signature"


# ---- keys: how each is made, in a folder of its own, as the file `key`; and the algorithm that it signs with ----

PRIVATE = {
    "the self-hosted guide's": ("ssh-keygen -q -t rsa -b 2048 -f key -m pem -N ''", "RS256"),
    "ssh-keygen, PKCS#8": ("ssh-keygen -q -t rsa -b 3072 -f key -m pkcs8 -N ''", "RS256"),
    "ssh-keygen, SEC1": ("ssh-keygen -q -t ecdsa -b 384 -f key -m pem -N ''", "ES384"),
    "genrsa, PKCS#1": ("openssl genrsa -traditional -out key 2048", "RS256"),
    "genrsa, PKCS#8": ("openssl genrsa -out key 2048", "RS256"),
    "genpkey, RSA": ("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out key", "RS256"),
    "genpkey, P-256": ("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key", "ES256"),
    "genpkey, P-384": ("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key", "ES384"),
    "genpkey, P-521": ("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key", "ES512"),
    "genpkey, Ed25519": ("openssl genpkey -algorithm ed25519 -out key", "EdDSA"),
    "ecparam with its EC PARAMETERS": ("openssl ecparam -name prime256v1 -genkey -out key", "ES256"),
    "ecparam, SEC1": ("openssl ecparam -name secp521r1 -genkey -noout -out key", "ES512"),
    "ecparam, made PKCS#8": ("openssl ecparam -name secp384r1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out key", "ES384"),
    "with CRLF and words around it": ("openssl genrsa -traditional 2048 | sed -e '1i the key of the cluster' -e 's/$/\\r/' > key", "RS256"),
}
PUBLIC = {
    "the self-hosted guide's": "ssh-keygen -q -t rsa -b 2048 -f x -m pem -N '' && ssh-keygen -e -m PKCS8 -f x.pub > key",
    "ssh-keygen, PKCS#1": "ssh-keygen -q -t rsa -b 2048 -f x -m pem -N '' && ssh-keygen -e -m PEM -f x.pub > key",
    "openssl pkey": "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout -out key",
    "openssl ec": "openssl ecparam -name secp521r1 -genkey | openssl ec -pubout -out key",
    "openssl rsa, PKCS#1": "openssl genrsa 2048 | openssl rsa -RSAPublicKey_out -out key",
    "a certificate": "openssl req -x509 -newkey rsa:2048 -noenc -keyout x -subj /CN=sa -out key",
    "a private key": "openssl ecparam -name prime256v1 -genkey -out key",
}
REFUSED = {
    "a pass phrase, PKCS#8": ("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -aes-256-cbc -pass pass:hunter22 -out key", "openssl pkey -in KEY"),
    "a pass phrase, PKCS#1": ("openssl genrsa -traditional -aes128 -passout pass:hunter22 -out key 2048", "openssl pkey -in KEY"),
    "a pass phrase, SEC1": ("openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes128 -passout pass:hunter22 -out key", "openssl pkey -in KEY"),
    "a pass phrase of ssh-keygen": ("ssh-keygen -q -t rsa -b 2048 -f key -m pem -N hunter22", "openssl pkey -in KEY"),
    "OpenSSH's own format": ("ssh-keygen -q -t rsa -b 2048 -f key -N ''", "ssh-keygen -p"),
    "OpenSSH's public key": ("ssh-keygen -q -t rsa -b 2048 -f x -N '' && mv x.pub key", "ssh-keygen -e -m PKCS8"),
    "a small key": ("openssl genrsa -out key 1024", "need RSA of 2048 to 8192 bits"),
    "a key for PSS": ("openssl genpkey -quiet -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key", "unsupported key"),
    "a curve of others": ("openssl ecparam -name secp256k1 -genkey -noout -out key", "P-256, P-384, P-521"),
    "X25519": ("openssl genpkey -algorithm x25519 -out key", "unsupported key"),
    "parameters alone": ("openssl ecparam -name prime256v1 -out key", "holds no RSA, EC or Ed25519 key"),
    "DER": ("openssl genrsa 2048 | openssl pkey -outform DER -out key", "holds no RSA, EC or Ed25519 key"),
    "half a key": ("openssl genrsa 2048 | head -n 5 > key", "holds no RSA, EC or Ed25519 key"),
    "nothing": (": > key", "holds no RSA, EC or Ed25519 key"),
}


def made(directory, command):
    """The file that the command makes."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=True)
    return directory / "key"


def kid_of(key):
    """As kube-apiserver names it, by openssl: the hash of its public half."""
    for read in (["pkey", "-in", key], ["pkey", "-pubin", "-in", key], ["rsa", "-RSAPublicKey_in", "-in", key], ["x509", "-noout", "-pubkey", "-in", key]):
        command = ["openssl", *map(str, read)] + ([] if read[0] == "x509" else ["-pubout"])
        pem = subprocess.run(command, capture_output=True, timeout=COMMAND_SECONDS, check=False)
        if pem.returncode == 0:
            der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem.stdout, capture_output=True, timeout=COMMAND_SECONDS, check=True)
            return base64.urlsafe_b64encode(hashlib.sha256(der.stdout).digest()).rstrip(b"=").decode()
    raise AssertionError(f"openssl does not read {key}")


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_key_of_other_tools_signs(kind, tmp_path):
    command, algorithm = PRIVATE[kind]
    key = made(tmp_path / "keys", command)
    with Podpass(tmp_path, "--node", "off", "--webhook-port", "-1", "--service-account-signing-key-file", str(key)) as running:
        issuing = Issuing(running, tmp_path)
        token = issuing.token("api")
        header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
        assert header == {"alg": algorithm, "kid": kid_of(key)}
        review = issuing.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token, "audiences": ["api"]}})
        assert review.json["status"]["authenticated"]
        (published,) = issuing.call("GET", "/openid/v1/jwks").json["keys"]
        assert published["kid"] == header["kid"] and "d" not in published


def test_keys_of_other_tools_are_accepted(tmp_path):
    files = [made(tmp_path / f"keys-{number}", command) for number, command in enumerate([*PUBLIC.values(), *(command for command, _ in PRIVATE.values())])]
    options = [word for file in files for word in ("--service-account-key-file", str(file))]
    with Podpass(tmp_path, "--node", "off", "--webhook-port", "-1", *options) as running:
        published = {key["kid"] for key in Issuing(running, tmp_path).call("GET", "/openid/v1/jwks").json["keys"]}
    missing = {str(file) for file in files if kid_of(file) not in published}
    assert not missing and len(published) == len(files) + 1


@pytest.mark.parametrize("flag", ["--service-account-signing-key-file", "--service-account-key-file"])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_key_that_cannot_be_used_is_refused(kind, flag, tmp_path):
    command, says = REFUSED[kind]
    key = made(tmp_path / "keys", command)
    done = subprocess.run([os.environ["PODPASS"], "apiserver", "--data-dir", str(tmp_path / "data"), "--port", "0", flag, str(key)], capture_output=True,
                          text=True, timeout=COMMAND_SECONDS, check=False)
    assert done.returncode == 1 and says in done.stderr and str(key) in done.stderr, done
    shown = re.sub(r"\s", "", done.stderr)
    assert "hunter22" not in shown and not any(line and line in shown for line in key.read_text(errors="replace").split("\n")[1:-2] if len(line) == 64)


def test_what_is_said_to_do_with_a_pass_phrase_helps(tmp_path):
    key = made(tmp_path / "keys", REFUSED["a pass phrase, PKCS#1"][0])
    made(tmp_path / "keys", "openssl pkey -in key -passin pass:hunter22 -out plain && mv plain key")
    with Podpass(tmp_path, "--node", "off", "--webhook-port", "-1", "--service-account-signing-key-file", str(key)) as running:
        assert Issuing(running, tmp_path).token("api")
