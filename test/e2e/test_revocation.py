"""Tokens that are ended before their time: by kubectl, by podpass tokens revoke, for the API server and for relying parties."""

import os
import subprocess
import time

from podpass import COMMAND_SECONDS
from test_tokens import assert_unauthorized, claims, is_accepted, request_token, review, whoami

KIND = "/apis/identity.podpass.dev/v1/tokenrevocations"


def podpass(server, *words, code=0):
    ran = subprocess.run([os.environ["PODPASS"], *words, "--kubeconfig", str(server.kubeconfig)], capture_output=True, text=True,
                         timeout=COMMAND_SECONDS, check=False)
    assert ran.returncode == code, f"podpass {' '.join(words)} exited {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout if code == 0 else ran.stderr


def token_of(call, namespace, account="default", **spec):
    made = request_token(call, namespace, account, **spec)
    assert made.code == 201, made
    return made.json["status"]["token"]


def revocations(call):
    """What a relying party without any right reads."""
    answer = call("GET", "/openid/v1/revocations", token="")
    assert answer.code == 200, answer
    assert answer.headers["Cache-Control"] == "public, max-age=10"
    return answer.json


def name_in(output):
    return output.split("kubectl delete tokenrevocation ")[1].strip()


def test_one_token_ends_and_its_sister_does_not(server, call, kubectl, namespace):
    leaked, sister = token_of(call, namespace), token_of(call, namespace)
    jti = claims(leaked)["jti"]
    assert is_accepted(call, leaked)
    said = podpass(server, "tokens", "revoke", jti, "--reason", "on a laptop that was lost")
    assert jti in said
    assert_unauthorized(whoami(call, leaked))
    refused = review(call, leaked)
    assert not refused.get("authenticated") and "revoked" in refused["error"]
    assert is_accepted(call, sister)
    told = revocations(call)
    assert told["issuer"] == claims(leaked)["iss"]
    assert {"jti": jti} in [{"jti": each.get("jti")} for each in told["revocations"]]
    assert "laptop" not in str(told)
    listed = kubectl("get", "tokenrevocations")
    assert jti in listed and "laptop" in listed
    kubectl("delete", "tokenrevocation", name_in(said))
    assert is_accepted(call, leaked)
    assert jti not in str(revocations(call))


def test_all_tokens_of_an_account_end_legacy_ones_too(server, call, kubectl, namespace):
    kubectl("create", "serviceaccount", "other")
    kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
                                       "metadata": {"name": "old", "annotations": {"kubernetes.io/service-account.name": "default"}}})
    deadline = time.monotonic() + 20
    while not (legacy := kubectl("get", "secret", "old", "-o", "go-template={{with .data}}{{base64decode .token}}{{end}}")):
        assert time.monotonic() < deadline, "the Secret got no token"
    bound, others = token_of(call, namespace), token_of(call, namespace, "other")
    for each in (legacy, bound, others):
        assert is_accepted(call, each)
    said = podpass(server, "tokens", "revoke", "--service-account", f"{namespace}/default")
    assert "Secrets" in said
    for each in (legacy, bound):
        assert_unauthorized(whoami(call, each))
        assert "revoked" in review(call, each)["error"]
    assert is_accepted(call, others)
    time.sleep(1.1)  # a token says the second that it was issued in, and the revocation covers its own
    assert is_accepted(call, token_of(call, namespace)), "later tokens are good"


def test_the_tokens_of_a_pod_and_of_a_node_end(server, call, kubectl, namespace):
    node = f"node-{namespace}"
    call("POST", "/api/v1/nodes", {"metadata": {"name": node}})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
           "spec": {"nodeName": node, "containers": [{"name": "c", "image": "busybox"}]}}
    assert call("POST", f"/api/v1/namespaces/{namespace}/pods", pod).code == 201
    bound = token_of(call, namespace, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "web"})
    free = token_of(call, namespace)
    assert is_accepted(call, bound)
    for flag, value in (("--pod", f"{namespace}/web"), ("--node", node)):
        said = podpass(server, "tokens", "revoke", flag, value)
        assert_unauthorized(whoami(call, bound))
        assert is_accepted(call, free)
        kubectl("delete", "tokenrevocation", name_in(said))
        assert is_accepted(call, bound)
    call("DELETE", f"/api/v1/nodes/{node}")


def test_only_who_may_can_revoke_and_wrong_revocations_are_refused(server, call, kubectl, namespace):
    body = {"metadata": {"generateName": "r-"}, "spec": {"jti": "a"}}
    assert call("POST", KIND, body, token=token_of(call, namespace)).code == 403
    assert "only one of" in kubectl.fails("create", "-f", "-", stdin={
        "apiVersion": "identity.podpass.dev/v1", "kind": "TokenRevocation", "metadata": {"name": "two"},
        "spec": {"jti": "a", "node": {"name": "n"}}})
    assert "NAMESPACE/NAME" in podpass(server, "tokens", "revoke", "--pod", "web", code=2)
    podpass(server, "tokens", "revoke", code=2)
    podpass(server, "tokens", "revoke", "a", "--node", "n", code=2)
