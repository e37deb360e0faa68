"""The inventory of live tokens: kubectl, podpass tokens list, revocation, restarts and kill -9."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from podpass import COMMAND_SECONDS, Call, Credentials, Kubectl, Podpass, eventually
from test_tokens import claims, header, is_accepted, token_of

KIND = "/apis/identity.podpass.dev/v1"


def podpass(server, *words, code=0):
    ran = subprocess.run([os.environ["PODPASS"], *words, "--kubeconfig", str(server.kubeconfig)], capture_output=True, text=True,
                         timeout=COMMAND_SECONDS, check=False)
    assert ran.returncode == code, f"podpass {' '.join(words)} exited {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout if code == 0 else ran.stderr


def jtis(call, query=""):
    answer = call("GET", f"{KIND}/issuedtokens{query}")
    assert answer.code == 200, answer
    return {item["metadata"]["name"] for item in answer.json["items"]}


def test_kubectl_shows_who_has_a_token_and_never_the_token(call, kubectl, namespace):
    made = [kubectl("create", "token", "default", "--audience", "vault", "--duration", "2h").strip(), token_of(call, namespace)]
    vault, api = (claims(token) for token in made)
    table = kubectl("get", "issuedtokens").splitlines()
    assert re.split(r"\s{2,}", table[0].strip()) == ["NAME", "SUBJECT", "AUDIENCES", "BOUND", "NODE", "ISSUED", "EXPIRES"]
    row = next(line for line in table if line.startswith(vault["jti"])).split()
    assert row[1:5] == ["default", "vault", "<none>", "<none>"] and row[6] in ("119m", "120m", "2h")
    assert any(line.startswith(api["jti"]) for line in table)
    shown = kubectl.json("get", "issuedtoken", vault["jti"])
    assert shown["spec"]["subject"] == vault["sub"] and shown["spec"]["issuer"] == vault["iss"]
    assert shown["spec"]["keyID"] == header(made[0])["kid"]
    assert shown["spec"]["requestedBy"] == call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).json["status"]["userInfo"]["username"]
    everything = kubectl("get", "issuedtokens", "-o", "yaml") + kubectl("describe", "issuedtokens") + kubectl("get", "issuedtokens", "-o", "wide")
    for token in made:
        assert token.rsplit(".", 1)[1] not in everything
    assert kubectl("get", "issuedtokens", "--field-selector", "spec.audiences=vault", "-o", "name").split() == [
        f"issuedtoken.identity.podpass.dev/{vault['jti']}"]
    assert "credential id" in kubectl("explain", "issuedtokens")


def test_a_watch_is_refused_in_kubernetes_words(call, kubectl, namespace):
    refused = call("GET", f"/apis/identity.podpass.dev/v1/namespaces/{namespace}/issuedtokens?watch=1")
    assert (refused.code, refused.json["reason"]) == (405, "MethodNotAllowed"), refused
    assert "(MethodNotAllowed): watch is not supported on resources of kind" in kubectl.fails("get", "issuedtokens", "--watch-only")


def test_kubectl_reads_page_by_page(call, kubectl, namespace):
    made = {claims(token_of(call, namespace))["jti"] for _ in range(12)}
    assert {line.split("/")[1] for line in kubectl("get", "issuedtokens", "--chunk-size", "5", "-o", "name").split()} >= made


def test_podpass_tokens_list(server, call, kubectl, namespace):
    kubectl("create", "serviceaccount", "other")
    mine, theirs = claims(token_of(call, namespace, audiences=["a,b=c"])), claims(token_of(call, namespace, "other"))
    table = podpass(server, "tokens", "list", "-n", namespace)
    assert mine["jti"] in table and theirs["jti"] in table and "NAMESPACE" in table
    listed = json.loads(podpass(server, "tokens", "list", "-n", namespace, "--service-account", "other", "-o", "json"))
    assert [item["metadata"]["name"] for item in listed["items"]] == [theirs["jti"]]
    listed = json.loads(podpass(server, "tokens", "list", "--audience", "a,b=c", "--issuer", mine["iss"], "-o", "json"))
    assert [item["metadata"]["name"] for item in listed["items"]] == [mine["jti"]]
    assert json.loads(podpass(server, "tokens", "list", "--kid", "none", "-o", "json"))["items"] == []
    assert "kind: IssuedToken" in podpass(server, "tokens", "list", "-n", namespace, "-o", "yaml")
    podpass(server, "tokens", "list", "-o", "xml", code=2)


def test_a_token_of_a_pod_says_so_and_when_it_was_used(call, namespace):
    pod = {"metadata": {"name": "web"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "busybox"}]}}
    assert call("POST", f"/api/v1/namespaces/{namespace}/pods", pod).code == 201
    token = token_of(call, namespace, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "web"})
    path = f"{KIND}/namespaces/{namespace}/issuedtokens/{claims(token)['jti']}"
    known = call("GET", path).json
    assert known["spec"]["boundObjectRef"]["name"] == "web" and known["spec"]["nodeName"] == "n1"
    assert "lastUsedTime" not in known["status"]
    assert is_accepted(call, token)
    assert call("GET", path).json["status"]["lastUsedTime"]


def test_deleting_one_revokes_it(server, call, kubectl, namespace):
    token, sister = token_of(call, namespace), token_of(call, namespace)
    jti = claims(token)["jti"]
    kubectl("delete", "issuedtoken", jti)
    assert not is_accepted(call, token) and is_accepted(call, sister)
    assert jti not in jtis(call) and claims(sister)["jti"] in jtis(call)
    assert {"jti": jti} in [{"jti": each.get("jti")} for each in call("GET", "/openid/v1/revocations", token="").json["revocations"]]
    kubectl("delete", "tokenrevocation", f"issuedtoken-{jti}")
    assert is_accepted(call, token) and jti in jtis(call)
    podpass(server, "tokens", "revoke", jti)
    assert jti not in jtis(call)


def test_a_service_account_sees_no_tokens_unasked(call, namespace):
    token = token_of(call, namespace)
    assert call("GET", f"{KIND}/namespaces/{namespace}/issuedtokens", token=token).code == 403
    assert call("DELETE", f"{KIND}/namespaces/{namespace}/issuedtokens/{claims(token)['jti']}", token=token).code == 403


@pytest.fixture
def directory(tmp_path):
    return tmp_path


def asked(server, directory):
    call = Call(server.url, Credentials(server.kubeconfig, directory))
    eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200)
    return call


def test_a_restart_forgets_nothing(directory):
    with Podpass(directory, "--node", "off", "--signing-key-algorithm", "ES256") as server:
        call = asked(server, directory)
        before = {claims(token_of(call, "default"))["jti"] for _ in range(30)}
        assert jtis(call) == before
        assert (server.data / "issued-tokens").stat().st_mode & 0o777 == 0o600
    with Podpass(directory, "--node", "off", "--signing-key-algorithm", "ES256") as server:
        call = asked(server, directory)
        answer = call("GET", f"{KIND}/issuedtokens")
        assert {item["metadata"]["name"] for item in answer.json["items"]} == before
        assert answer.headers["Warning"] is None, "nothing is missing"
        assert b"podpass_issued_tokens 30" in call("GET", "/metrics").body


def test_kill_9_costs_the_last_second_at_most(directory):
    server = Podpass(directory, "--node", "off", "--signing-key-algorithm", "ES256")
    try:
        call = asked(server, directory)
        kept = {claims(token_of(call, "default"))["jti"] for _ in range(30)}
        time.sleep(1)
        last = {claims(token_of(call, "default"))["jti"] for _ in range(3)}
    finally:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with Podpass(directory, "--node", "off", "--signing-key-algorithm", "ES256") as again:
        call = asked(again, directory)
        answer = call("GET", f"{KIND}/issuedtokens")
        names = {item["metadata"]["name"] for item in answer.json["items"]}
        assert kept <= names <= kept | last
        assert "was killed" in answer.headers["Warning"]
        assert "was killed" in Kubectl(again.kubeconfig, directory).run("get", "issuedtokens", "-A").stderr
