"""What a token says, who accepts it, and when it stops being accepted; checked with PyJWT, openssl and kubectl."""

import base64
import json
import os
import re
import ssl
import subprocess
import urllib.request

import jwt
import pytest
from conftest import Call, Credentials, Kubectl, Podpass, eventually

API_AUDIENCE = "https://kubernetes.default.svc"
UNAUTHORIZED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Unauthorized", "reason": "Unauthorized", "code": 401}
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims(token):
    return json.loads(decode(token.split(".")[1]))


def header(token):
    return json.loads(decode(token.split(".")[0]))


def whoami(call, token):
    return call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, token=token)


def is_accepted(call, token):
    return whoami(call, token).code == 201


def assert_unauthorized(answer):
    assert answer.code == 401, answer
    assert answer.json == UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"] is None


def review(call, token, *audiences):
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    if audiences:
        body["spec"]["audiences"] = list(audiences)
    answer = call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
    assert answer.code == 201, answer
    return answer.json["status"]


def request_token(call, namespace, account="default", **spec):
    return call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
                {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})


def token_of(call, namespace, account="default", **spec):
    answer = request_token(call, namespace, account, **spec)
    assert answer.code == 201, answer
    return answer.json["status"]["token"]


@pytest.fixture
def published(credentials):
    """Reads a document as any relying party does: by its URL and the authority, without credentials."""
    context = ssl.create_default_context(cafile=credentials.ca)

    def read(url):
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:
            return json.load(answer)
    return read


@pytest.fixture
def discovery(server, published):
    return published(server.issuer + "/.well-known/openid-configuration")


@pytest.fixture
def jwks(discovery, published):
    return published(discovery["jwks_uri"])


def key_of(token, jwks):
    return next(key for key in jwks["keys"] if key["kid"] == header(token)["kid"])


def test_the_legacy_token_of_the_default_account_says_what_the_document_prints(kubectl, namespace):
    account = kubectl.json("get", "sa", "default")
    name = account["secrets"][0]["name"]
    assert re.fullmatch(r"default-token-[a-z0-9]{5}", name)
    secret = kubectl.json("get", "secret", name)
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert set(secret["data"]) == {"token", "namespace", "ca.crt"}
    assert base64.b64decode(secret["data"]["namespace"]).decode() == namespace
    token = base64.b64decode(secret["data"]["token"]).decode()
    assert claims(token) == {
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": name,
        "kubernetes.io/serviceaccount/service-account.name": "default",
        "kubernetes.io/serviceaccount/service-account.uid": account["metadata"]["uid"],
        "sub": f"system:serviceaccount:{namespace}:default",
    }
    assert set(header(token)) == {"alg", "kid"}
    assert header(token)["alg"] == "RS256" and len(header(token)["kid"]) == 43


def legacy_token(call, namespace, account="default"):
    def read():
        found = call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}").json.get("secrets")
        if not found:
            return None
        data = call("GET", f"/api/v1/namespaces/{namespace}/secrets/{found[0]['name']}").json.get("data", {})
        return data.get("token") and (found[0]["name"], base64.b64decode(data["token"]).decode())
    return eventually(read, what=f"a legacy token of {namespace}/{account}")


def test_a_legacy_token_dies_with_its_secret(call, namespace):
    secret, token = legacy_token(call, namespace)
    assert whoami(call, token).json["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert call("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{secret}").code == 200
    eventually(lambda: not is_accepted(call, token), what="the refusal of the deleted Secret's token")
    assert_unauthorized(whoami(call, token))


def test_kubectl_creates_a_token_with_the_claims_of_a_bound_one(kubectl, call, namespace, server):
    token = kubectl("create", "token", "default").strip()
    said = claims(token)
    uid = kubectl.json("get", "sa", "default")["metadata"]["uid"]
    assert said["aud"] == [API_AUDIENCE]
    assert said["iss"] == server.issuer
    assert said["sub"] == f"system:serviceaccount:{namespace}:default"
    assert said["nbf"] == said["iat"] and said["exp"] == said["iat"] + 3600
    assert said["kubernetes.io"] == {"namespace": namespace, "serviceaccount": {"name": "default", "uid": uid}}
    user = whoami(call, token).json["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert set(user["groups"]) == {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}


def test_the_claims_are_the_bytes_that_kubernetes_writes(call, namespace):
    text = decode(token_of(call, namespace).split(".")[1]).decode()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_kubectl_asks_for_audience_duration_and_bound_object(kubectl, namespace):
    kubectl("create", "secret", "generic", "anchor")
    uid = kubectl.json("get", "secret", "anchor")["metadata"]["uid"]
    token = kubectl("create", "token", "default", "--audience", "a", "--audience", "b", "--duration", "2h", "--bound-object-kind", "Secret",
                    "--bound-object-name", "anchor", "--bound-object-uid", uid).strip()
    said = claims(token)
    assert said["aud"] == ["a", "b"]
    assert said["exp"] - said["iat"] == 7200
    assert said["kubernetes.io"]["secret"] == {"name": "anchor", "uid": uid}


def test_discovery_describes_the_issuer(discovery, jwks, server):
    assert discovery["issuer"] == server.issuer
    assert discovery["response_types_supported"] == ["id_token"]
    assert discovery["subject_types_supported"] == ["public"]
    assert discovery["id_token_signing_alg_values_supported"] == ["RS256"]
    assert discovery["jwks_uri"].endswith("/openid/v1/jwks")
    for key in jwks["keys"]:
        assert key["use"] == "sig" and key["kty"] == "RSA" and key["alg"] == "RS256"
        assert "d" not in key, "a private key must never be published"


def test_pyjwt_verifies_a_token_through_discovery(call, namespace, discovery, jwks):
    token = token_of(call, namespace, audiences=["sts.amazonaws.com"])
    key = jwt.PyJWK(key_of(token, jwks)).key
    said = jwt.decode(token, key, algorithms=discovery["id_token_signing_alg_values_supported"],
                      audience="sts.amazonaws.com", issuer=discovery["issuer"])
    assert said["sub"] == f"system:serviceaccount:{namespace}:default"
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=["RS256"], audience=API_AUDIENCE, issuer=discovery["issuer"])


def test_openssl_verifies_a_token_with_the_published_key(call, namespace, jwks, tmp_path):
    token = token_of(call, namespace)
    signed, _, signature = token.rpartition(".")
    number = {name: int.from_bytes(decode(key_of(token, jwks)[name]), "big") for name in ("n", "e")}
    (tmp_path / "key.asn1").write_text(f"asn1=SEQUENCE:key\n[key]\nn=INTEGER:0x{number['n']:x}\ne=INTEGER:0x{number['e']:x}\n")
    (tmp_path / "signed").write_text(signed)
    (tmp_path / "signature").write_bytes(decode(signature))

    def openssl(*arguments):
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30).stdout

    openssl("asn1parse", "-genconf", "key.asn1", "-noout", "-out", "key.der")
    openssl("rsa", "-RSAPublicKey_in", "-inform", "DER", "-in", "key.der", "-pubout", "-out", "key.pem")
    assert "Verified OK" in openssl("dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "signed")


def test_a_token_review_names_the_account(call, namespace):
    status = review(call, token_of(call, namespace))
    assert status["authenticated"] is True
    assert status["audiences"] == [API_AUDIENCE]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert status["user"]["uid"] == call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default").json["metadata"]["uid"]


def test_a_token_review_asks_for_an_audience(call, namespace):
    token = token_of(call, namespace, audiences=["vault", "sts"])
    assert review(call, token, "other", "sts")["audiences"] == ["sts"]
    refused = review(call, token, "other")
    assert not refused.get("authenticated")
    assert 'token audiences ["vault" "sts"] is invalid for the target audiences ["other"]' in refused["error"]


def test_a_token_for_another_audience_is_no_key_to_the_api_server(call, namespace):
    token = token_of(call, namespace, audiences=["vault"])
    assert_unauthorized(call("GET", "/api", token=token))


def test_kubectl_with_such_a_token_is_not_logged_in(call, namespace, server, credentials, tmp_path):
    stranger = Kubectl(os.devnull, tmp_path)  # without the admin's certificate
    server_is = ("--server", server.url, "--certificate-authority", credentials.ca)
    own = stranger.fails(*server_is, "--token", token_of(call, namespace), "get", "pods")
    assert "(Forbidden)" in own, "who it is, is known"
    said = stranger.fails(*server_is, "--token", token_of(call, namespace, audiences=["vault"]), "get", "pods")
    assert said == "error: You must be logged in to the server (Unauthorized)\n"


def forged(token, alg, key=None):
    """The token's own claims under another algorithm, as an attacker would write them."""
    head = encode(json.dumps({"alg": alg, "kid": header(token)["kid"]}).encode())
    body = token.split(".")[1]
    if key is None:
        return f"{head}.{body}."
    made = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{head}.{body}".encode(), key)
    return f"{head}.{body}.{encode(made)}"


def other_claims(token):
    head, body, signature = token.split(".")
    said = json.loads(decode(body))
    said["sub"] = "system:serviceaccount:kube-system:default"
    return f"{head}.{encode(json.dumps(said).encode())}.{signature}"


def flipped(token):
    head, body, signature = token.split(".")
    raw = bytearray(decode(signature))
    raw[len(raw) // 2] ^= 1
    return f"{head}.{body}.{encode(bytes(raw))}"


@pytest.mark.parametrize("change, why", [
    (lambda token, keys: token[:-1], "cut by one character"),
    (lambda token, keys: token[: len(token) // 2], "cut in half"),
    (lambda token, keys: token.rpartition(".")[0], "without a signature part"),
    (lambda token, keys: token.rpartition(".")[0] + ".", "with an empty signature"),
    (lambda token, keys: token + "." + token, "too many parts"),
    (lambda token, keys: token + "=", "padded base64"),
    (lambda token, keys: flipped(token), "one bit of the signature"),
    (lambda token, keys: other_claims(token), "claims of somebody else"),
    (lambda token, keys: forged(token, "none"), "alg none"),
    (lambda token, keys: forged(token, "None"), "alg None"),
    (lambda token, keys: forged(token, "HS256", json.dumps(keys["keys"][0]).encode()), "HS256 with the public JWK as the secret"),
    (lambda token, keys: forged(token, "HS256", decode(keys["keys"][0]["n"])), "HS256 with the public modulus as the secret"),
    (lambda token, keys: "x", "not a token"),
    (lambda token, keys: "a.b.c", "three parts of nothing"),
    (lambda token, keys: "e30.e30.e30", "three empty objects"),
    (lambda token, keys: "." * 5000, "only dots"),
], ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
def test_a_token_that_was_tampered_with_is_refused(call, namespace, jwks, change, why):
    hostile = change(token_of(call, namespace), jwks)
    assert_unauthorized(call("GET", "/api", token=hostile))
    status = review(call, hostile)
    assert not status.get("authenticated") and status["error"], status


def test_a_token_dies_with_the_secret_it_is_bound_to(call, namespace):
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    made = call("POST", secrets, {"metadata": {"name": "anchor"}}).json
    bound = {"apiVersion": "v1", "kind": "Secret", "name": "anchor", "uid": made["metadata"]["uid"]}
    token = token_of(call, namespace, boundObjectRef=bound)
    assert is_accepted(call, token)
    assert call("DELETE", f"{secrets}/anchor").code == 200
    eventually(lambda: not is_accepted(call, token), what="the refusal of a token bound to a deleted Secret")
    assert "service account token has been invalidated" in review(call, token)["error"]


def test_a_token_does_not_come_back_with_a_new_secret_of_the_same_name(call, namespace):
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    made = call("POST", secrets, {"metadata": {"name": "anchor"}}).json
    bound = {"apiVersion": "v1", "kind": "Secret", "name": "anchor", "uid": made["metadata"]["uid"]}
    token = token_of(call, namespace, boundObjectRef=bound)
    call("DELETE", f"{secrets}/anchor")
    again = call("POST", secrets, {"metadata": {"name": "anchor"}})
    assert again.code == 201, again
    eventually(lambda: not is_accepted(call, token), what="the refusal of a token bound to a former Secret")
    assert request_token(call, namespace, boundObjectRef=bound).code == 409, "the uid of the former Secret is a stale precondition"


def test_a_token_dies_with_its_account(call, namespace):
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    assert call("POST", accounts, {"metadata": {"name": "robot"}}).code == 201
    token = token_of(call, namespace, "robot")
    _, legacy = legacy_token(call, namespace, "robot")
    assert is_accepted(call, token) and is_accepted(call, legacy)
    assert call("DELETE", f"{accounts}/robot").code == 200
    eventually(lambda: not is_accepted(call, token), what="the refusal of a bound token of a deleted account")
    eventually(lambda: not is_accepted(call, legacy), what="the refusal of a legacy token of a deleted account")
    assert 'serviceaccounts "robot" not found' in review(call, token)["error"]


def test_an_account_without_rights_reads_the_sentence_of_kubernetes(call, kubectl, namespace, server):
    token = token_of(call, namespace)
    user = f"system:serviceaccount:{namespace}:default"
    answer = call("GET", f"/api/v1/namespaces/{namespace}/pods", token=token)
    assert answer.code == 403, answer
    assert answer.json["reason"] == "Forbidden"
    assert answer.json["message"] == (f'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" '
                                      f'in the namespace "{namespace}"')
    answer = call("GET", f"/api/v1/namespaces/{namespace}/secrets/x", token=token)
    assert answer.json["message"] == (f'secrets "x" is forbidden: User "{user}" cannot get resource "secrets" in API group "" '
                                      f'in the namespace "{namespace}"')
    assert call("GET", "/api/v1/nodes", token=token).json["message"].endswith("at the cluster scope")


def test_a_role_binding_gives_an_account_its_rights(call, kubectl, namespace):
    token = token_of(call, namespace)
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:default")
    path = f"/api/v1/namespaces/{namespace}/pods"
    eventually(lambda: call("GET", path, token=token).code == 200, what="the right to list pods")
    assert call("POST", path, {"metadata": {"name": "p"}}, token=token).code == 403


@pytest.mark.parametrize("seconds, message", [
    (599, "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"),
    (0, "may not specify a duration less than 10 minutes"),
    (-1, "may not specify a duration less than 10 minutes"),
    (4294967297, "spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"),
])
def test_a_duration_out_of_range_is_unprocessable(call, namespace, seconds, message):
    answer = request_token(call, namespace, expirationSeconds=seconds)
    assert answer.code == 422, answer
    assert answer.json["reason"] == "Invalid"
    assert message in answer.json["message"]
    assert answer.json["message"].startswith('TokenRequest.authentication.k8s.io "" is invalid: ')


def test_the_shortest_duration_is_granted(call, namespace):
    said = claims(token_of(call, namespace, expirationSeconds=600))
    assert said["exp"] - said["iat"] == 600


def test_a_token_of_a_missing_account_is_not_found(kubectl):
    assert 'serviceaccounts "nobody" not found' in kubectl.fails("create", "token", "nobody")


def pod(name, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "my-aws-cli", "image": "amazon/aws-cli:latest", "command": ["sleep", "36000"]}],
                     "restartPolicy": "Never", **spec}}


def test_an_applied_pod_shows_the_projected_volume_of_the_document(kubectl):
    assert kubectl("apply", "-f", "-", stdin=pod("eks-iam-test2")) == "pod/eks-iam-test2 created\n"
    spec = kubectl.json("get", "pod", "eks-iam-test2")["spec"]
    assert spec["serviceAccountName"] == "default"
    [volume] = spec["volumes"]
    assert re.fullmatch(r"kube-api-access-[a-z0-9]{5}", volume["name"])
    assert volume["projected"] == {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
    ]}
    assert spec["containers"][0]["volumeMounts"] == [{"mountPath": ACCOUNT_FOLDER, "name": volume["name"], "readOnly": True}]


def test_the_token_of_a_pod_lasts_a_year_and_warns_after_an_hour(call, kubectl, namespace):
    kubectl("apply", "-f", "-", stdin=pod("eks-iam-test2"))
    made = kubectl.json("get", "pod", "eks-iam-test2")["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "eks-iam-test2", "uid": made["uid"]}
    answer = request_token(call, namespace, audiences=[API_AUDIENCE], expirationSeconds=3607, boundObjectRef=bound)
    assert answer.code == 201, answer
    token = answer.json["status"]["token"]
    said = claims(token)
    account = kubectl.json("get", "sa", "default")["metadata"]["uid"]
    assert said["exp"] - said["iat"] == 31536000
    assert said["kubernetes.io"] == {"namespace": namespace, "pod": {"name": "eks-iam-test2", "uid": made["uid"]},
                                     "serviceaccount": {"name": "default", "uid": account}, "warnafter": said["iat"] + 3607}
    extra = review(call, token)["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["eks-iam-test2"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [made["uid"]]
    kubectl("delete", "pod", "eks-iam-test2", "--now", "--timeout=30s")
    eventually(lambda: not is_accepted(call, token), what="the refusal of the token of a deleted pod")


@pytest.mark.parametrize("audiences, seconds, bound", [
    (["sts.amazonaws.com"], 3607, True), ([API_AUDIENCE, "sts.amazonaws.com"], 3607, True), ([API_AUDIENCE], 3600, True),
    ([API_AUDIENCE], 3607, False)], ids=["another audience", "two audiences", "another life", "unbound"])
def test_only_what_the_volume_asks_for_lasts_a_year(call, namespace, audiences, seconds, bound):
    made = call("POST", f"/api/v1/namespaces/{namespace}/pods", pod("p")).json["metadata"]
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["uid"]}
    said = claims(token_of(call, namespace, audiences=audiences, expirationSeconds=seconds, **({"boundObjectRef": reference} if bound else {})))
    assert said["exp"] - said["iat"] == seconds
    assert "warnafter" not in said["kubernetes.io"]


def test_without_token_secrets_an_account_has_none_and_a_secret_made_by_hand_is_filled(tmp_path):
    with Podpass(tmp_path, "--node", "off", "--legacy-token-secrets=manual") as running:
        call = Call(running.url, Credentials(running.kubeconfig, tmp_path))
        kubectl = Kubectl(running.kubeconfig, tmp_path, "default")
        eventually(lambda: kubectl.run("get", "sa/default", "cm/kube-root-ca.crt").returncode == 0, what="the namespace's first objects")
        annotations = {"kubernetes.io/service-account.name": "default"}
        kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "by-hand", "annotations": annotations},
                                            "type": "kubernetes.io/service-account-token"})
        data = eventually(lambda: kubectl.json("get", "secret", "by-hand").get("data"), what="the token in the Secret")
        assert set(data) == {"token", "namespace", "ca.crt"}
        token = base64.b64decode(data["token"]).decode()
        assert claims(token)["kubernetes.io/serviceaccount/secret.name"] == "by-hand"
        assert whoami(call, token).json["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
        header_line, row = kubectl("get", "sa").splitlines()
        assert header_line.split() == ["NAME", "SECRETS", "AGE"] and row.split()[:2] == ["default", "0"]
        assert kubectl("get", "secret", "-o", "name") == "secret/by-hand\n"


@pytest.mark.parametrize("on_account, on_pod, mounted", [
    (None, None, True), (None, False, False), (False, None, False), (False, True, True), (True, False, False)])
def test_the_pod_decides_over_automounting_then_its_account(call, namespace, on_account, on_pod, mounted):
    account = {"metadata": {"name": "robot"}}
    if on_account is not None:
        account["automountServiceAccountToken"] = on_account
    assert call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account).code == 201
    wanted = pod("p", serviceAccountName="robot")
    if on_pod is not None:
        wanted["spec"]["automountServiceAccountToken"] = on_pod
    answer = call("POST", f"/api/v1/namespaces/{namespace}/pods", wanted)
    assert answer.code == 201, answer
    assert bool(answer.json["spec"].get("volumes")) == mounted
    assert bool(answer.json["spec"]["containers"][0].get("volumeMounts")) == mounted


def test_a_pod_of_a_missing_account_is_forbidden(call, kubectl, namespace):
    sentence = (f'pods "p" is forbidden: error looking up service account {namespace}/nobody: serviceaccount "nobody" not found')
    answer = call("POST", f"/api/v1/namespaces/{namespace}/pods", pod("p", serviceAccountName="nobody"))
    assert answer.code == 403, answer
    assert answer.json["reason"] == "Forbidden"
    assert answer.json["message"] == sentence
    assert sentence in kubectl.fails("apply", "-f", "-", stdin=pod("p", serviceAccountName="nobody"))
    assert call("GET", f"/api/v1/namespaces/{namespace}/pods/p").code == 404
