"""--jwks-uri: the keys are on a web server, as `podpass keys publish` wrote them, and relying parties take them from there."""

import functools
import http.server
import json
import os
import ssl
import subprocess
import threading

import pytest
from podpass import COMMAND_SECONDS, Call, Credentials, Podpass, eventually
from test_keys import MAX_AGE, header, keys, new_token, rotated


class Site(http.server.ThreadingHTTPServer):
    """A web server over TLS with what is in a directory."""

    def __init__(self, directory, secrets):
        self.ca = secrets / "site.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2", "-subj", "/CN=site", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", secrets / "site.key", "-out", self.ca], capture_output=True, timeout=COMMAND_SECONDS, check=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, secrets / "site.key")
        super().__init__(("127.0.0.1", 0), functools.partial(self.Handler, directory=str(directory)))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_port}"
        self._serving = threading.Thread(target=self.serve_forever, daemon=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def __enter__(self):
        self._serving.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._serving.join()
        self.server_close()


def test_what_publish_writes_verifies_tokens_at_the_jwks_uri(tmp_path):
    directory = tmp_path / "site"
    directory.mkdir()
    with Site(directory, tmp_path) as site, Podpass(tmp_path, "--node", "off", "--jwks-uri", site.url + "/keys.json", "--jwks-max-age", f"{MAX_AGE}s") as running:
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        assert call("GET", "/.well-known/openid-configuration", token="").json["jwks_uri"] == site.url + "/keys.json"
        both = tmp_path / "both.crt"
        both.write_text((running.data / "ca.crt").read_text() + site.ca.read_text())

        def verified(token):
            done = subprocess.run([os.environ["PODPASS"], "token", "verify", "--issuer", running.issuer, "--issuer-ca", str(both), "--audience", "api", "-o", "json"],
                                  input=token, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
            return json.loads(done.stdout)

        token = new_token(call)
        assert verified(token)["failedCheck"] == "discovery", "nothing is published yet"
        assert site.url in keys(running, "publish", str(directory))
        assert json.loads((directory / ".well-known" / "openid-configuration").read_text())["jwks_uri"] == site.url + "/keys.json"
        good = verified(token)
        assert good["valid"] and good["user"] == "system:serviceaccount:default:default", good
        kid = rotated(running)
        eventually(lambda: header(new_token(call))["kid"] == kid, seconds=40, what="a token by the new key")
        new = new_token(call)
        assert verified(new)["failedCheck"] == "key id", "the site is what counts, not the API server"
        keys(running, "publish", str(directory))
        assert verified(new)["valid"] and verified(token)["valid"]


@pytest.mark.parametrize("uri, says", [
    ("http://keys.example/jwks", "requires https scheme, parsed as: http://keys.example/jwks"),
    ("keys.example/jwks", "not a URL"),
    ("https://", "has no host"),
    ("https://keys.example/jwks#x", "has a fragment"),
])
def test_a_jwks_uri_that_nobody_can_use_is_refused(tmp_path, uri, says):
    done = subprocess.run([os.environ["PODPASS"], "apiserver", "--data-dir", str(tmp_path / "data"), "--port", "0", "--jwks-uri", uri], capture_output=True, text=True,
                          timeout=COMMAND_SECONDS, check=False)
    assert done.returncode != 0 and says in done.stderr and "fix:" in done.stderr, done
