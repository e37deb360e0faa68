"""Several issuers served at once, and the assistant that says when an old one, or an old key, can be dropped."""

import json
import os
import subprocess

import jwt
import pytest
from podpass import COMMAND_SECONDS, Call, Credentials, Kubectl, Podpass, eventually
from test_inventory import podpass
from test_tokens import claims, header, is_accepted, request_token, token_of


class Moving:
    """A podpass whose issuer moves below the path /new of its own URL: the same data directory, port and keys."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.options = ["--node", "off", "--signing-key-algorithm", "ES256", "--jwks-max-age", "2s", *options]

    def start(self, *options):
        server = Podpass(self.directory, *self.options, *options)
        self.call = Call(server.url, Credentials(server.kubeconfig, self.directory))
        eventually(lambda: self.call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200)
        return server


def moved(moving, before):
    """Started again, on the port of before, with another issuer first."""
    server = moving.start("--issuer", before.url + "/new", "--issuer", before.url)
    assert server.url == before.url
    return server


def verified(call, issuer, token, **options):
    """As a relying party that knows the issuer's URL only: claims, by PyJWT."""
    path = "/" + issuer.split("/", 3)[3] if issuer.count("/") > 2 else ""
    document = call("GET", path + "/.well-known/openid-configuration", token="")
    assert document.code == 200, document
    assert document.json["issuer"] == issuer, "relying parties compare it byte for byte"
    keys = call("GET", "/" + document.json["jwks_uri"].split("/", 3)[3], token="").json["keys"]
    key = next(jwt.PyJWK(key, "ES256").key for key in keys if key["kid"] == header(token)["kid"])
    return jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, **options)


def migration(server, code):
    return json.loads(podpass_any(server, code, "doctor", "migration", "-o", "json"))


def podpass_any(server, code, *words):
    ran = subprocess.run([os.environ["PODPASS"], *words, "--kubeconfig", str(server.kubeconfig)], capture_output=True, text=True,
                         timeout=COMMAND_SECONDS, check=False)
    assert ran.returncode == code, f"podpass {' '.join(words)} exited {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def test_a_change_of_issuer_from_its_first_day_to_its_last(tmp_path):
    moving = Moving(tmp_path)
    with moving.start() as first:
        call = moving.call
        assert migration(first, 0)["safe"], "there is nothing old"
        old = token_of(call, "default", audiences=["api", "https://kubernetes.default.svc"], expirationSeconds=7200)
        unused = token_of(call, "default", audiences=["vault"])
        verified(call, first.issuer, old, audience="api")
    with moved(moving, first) as server:
        call, new_issuer = moving.call, first.url + "/new"
        new = token_of(call, "default", audiences=["api"])
        assert claims(new)["iss"] == new_issuer
        verified(call, new_issuer, new, audience="api")
        verified(call, first.issuer, old, audience="api")
        with pytest.raises(jwt.InvalidIssuerError):
            verified(call, new_issuer, old, audience="api")
        assert call("GET", "/other/.well-known/openid-configuration").code == 404
        assert call("POST", "/new/.well-known/openid-configuration", {}).code == 405
        assert is_accepted(call, old)

        seen = migration(server, 1)
        issuers = {each["name"]: each for each in seen["issuers"]}
        assert not seen["safe"] and not issuers[new_issuer]["old"] and issuers[new_issuer]["liveTokens"] == 1
        before = issuers[first.issuer]
        assert before["old"] and not before["safe"] and before["liveTokens"] == 2
        assert before["safeFrom"].startswith("20")
        users = {user["audiences"]: user for user in before["users"]}
        assert users["api,https://kubernetes.default.svc"]["lastUsed"] and "lastUsed" not in users["vault"]
        text = podpass_any(server, 1, "doctor", "migration")
        assert "system:serviceaccount:default:default for vault: 1, until" in text and "not before" in text
        assert "token Secrets" in text
        kubectl = Kubectl(server.kubeconfig, tmp_path)
        table = {row.split()[1]: row.split()[2:4] for row in kubectl("get", "tokenissuers").splitlines()[1:]}
        assert table[new_issuer] == ["Signing", "1"] and table[first.issuer] == ["Accepted", "2"]
        assert table["kubernetes/serviceaccount"][0] == "Legacy"

        for token in (old, unused):
            podpass(server, "tokens", "revoke", claims(token)["jti"])
        after = {each["name"]: each for each in migration(server, 0)["issuers"]}
        assert after[first.issuer]["safe"] and after[first.issuer]["liveTokens"] == 0


def test_sts_takes_tokens_of_both_issuers(tmp_path):
    moving = Moving(tmp_path)
    with moving.start() as first:
        pass
    with moved(moving, first):
        urls = {each["metadata"]["name"]: each["spec"]["url"]
                for each in moving.call("GET", "/apis/iam.podpass.dev/v1/oidcproviders").json["items"]}
        assert urls["podpass"] == first.url + "/new"
        assert sorted(urls.values()) == sorted([first.url, first.url + "/new"])


def test_a_site_can_be_published_for_each_issuer(tmp_path):
    moving = Moving(tmp_path)
    with moving.start() as first:
        pass
    with moved(moving, first) as server:
        for options, issuer in (((), first.url + "/new"), (("--issuer", first.url), first.url)):
            site = tmp_path / "site"
            podpass(server, "keys", "publish", str(site), *options)
            document = json.loads((site / ".well-known" / "openid-configuration").read_text())
            assert document["issuer"] == issuer and document["jwks_uri"] == issuer + "/keys.json"


def test_keys_show_their_live_tokens_and_when_they_go(tmp_path):
    moving = Moving(tmp_path)
    with moving.start() as server:
        call = moving.call
        kubectl = Kubectl(server.kubeconfig, tmp_path)
        tokens = [token_of(call, "default") for _ in range(3)]
        kid = header(tokens[0])["kid"]
        keys = kubectl.json("get", "signingkeys")["items"]
        assert [key["status"]["liveTokens"] for key in keys if key["status"]["kid"] == kid] == [3]
        assert "TOKENS" in kubectl("get", "signingkeys").splitlines()[0]
        row = next(line for line in podpass(server, "keys", "list").splitlines() if kid in line)
        assert row.split()[4] == "3"
        podpass(server, "keys", "rotate")

        def retiring():
            states = {key["status"].get("kid"): key["status"].get("state") for key in kubectl.json("get", "signingkeys")["items"]}
            return states.get(kid) == "Retiring"

        eventually(retiring, seconds=30, what="the old key to retire")
        assert request_token(call, "default").code == 201
        old = next(key for key in migration(server, 1)["keys"] if kid in key["name"])
        assert old["old"] and old["liveTokens"] == 3 and old["safeFrom"]
        assert [user["tokens"] for user in old["users"]] == [3]
        name = next(key["metadata"]["name"] for key in keys if key["status"]["kid"] == kid)
        podpass(server, "keys", "revoke", name, "--yes")
        eventually(lambda: next(key for key in migration(server, 0)["keys"] if kid in key["name"])["safe"], what="the end of the key")
