"""The pod identity webhook: inside `podpass up`, and alone beside an API server that it reaches by kubeconfig."""

import base64
import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from podpass import Call, Credentials, Podpass, Standalone, eventually, resident_mb

ROLE = "arn:aws:iam::210987654321:role/reader"
ANNOTATED = {"eks.amazonaws.com/role-arn": ROLE}


def review(namespace, account, pod=None):
    pod = pod or {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pod["spec"]["serviceAccountName"] = account
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {"uid": "u-1", "namespace": namespace, "operation": "CREATE", "object": pod}}


class Webhook:
    def __init__(self, url, ca):
        self.url = url
        self._trust = ssl.create_default_context(cafile=ca) if isinstance(ca, str) else ca

    def __call__(self, body):
        wanted = urllib.request.Request(self.url + "?timeout=10s", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(wanted, timeout=20, context=self._trust) as answer:
            return json.loads(answer.read())["response"]

    def raw(self, body, content="application/json"):
        """Status and text of the answer to these bytes."""
        wanted = urllib.request.Request(self.url, data=body, headers={"Content-Type": content})
        try:
            with urllib.request.urlopen(wanted, timeout=20, context=self._trust) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def patch(self, *arguments):
        """The operations for a pod of that account, None when there are none."""
        response = self(review(*arguments))
        assert response["allowed"], response
        return json.loads(base64.b64decode(response["patch"])) if "patch" in response else None


def environment(patch):
    containers = next(each["value"] for each in patch if each["path"] == "/spec/containers")
    return {each["name"]: each["value"] for each in containers[0].get("env", [])}


@pytest.fixture(scope="session")
def endpoints(server):
    return json.loads((server.data / "endpoints.json").read_text())


@pytest.fixture(scope="session")
def webhook(endpoints, credentials):
    return Webhook(endpoints["webhook"], credentials.ca)


def make_account(call, namespace, name, annotations):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    assert call("POST", path, {"metadata": {"name": name, "annotations": annotations}}).code == 201


def test_it_is_installed_as_in_eks(call, endpoints, webhook):
    found = call("GET", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pod-identity-webhook").json
    one = found["webhooks"][0]
    assert one["name"] == "pod-identity-webhook.amazonaws.com"
    assert one["clientConfig"]["url"] == endpoints["webhook"]
    assert one["failurePolicy"] == "Ignore" and one["sideEffects"] == "None"
    trust = ssl.create_default_context(cadata=base64.b64decode(one["clientConfig"]["caBundle"]).decode())
    assert Webhook(endpoints["webhook"], trust).patch("default", "default") is None


def test_a_pod_is_given_its_identity_on_its_way_in(call, namespace):
    make_account(call, namespace, "reader", ANNOTATED)
    pod = {"metadata": {"name": "app"}, "spec": {"serviceAccountName": "reader", "containers": [{"name": "c", "image": "i"}]}}
    made = call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    assert made.code == 201, made
    spec = made.json["spec"]
    volume = next(each for each in spec["volumes"] if each["name"] == "aws-iam-token")
    assert volume["projected"]["sources"][0]["serviceAccountToken"] == {"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"}
    assert {"name": "AWS_ROLE_ARN", "value": ROLE} in spec["containers"][0]["env"]
    assert f"{namespace}/reader may assume {ROLE}" in made.headers["Warning"]
    opted_out = dict(pod, metadata={"name": "out", "labels": {"eks.amazonaws.com/skip-pod-identity-webhook": "true"}})
    made = call("POST", f"/api/v1/namespaces/{namespace}/pods", opted_out)
    assert "aws-iam-token" not in json.dumps(made.json), made


def connections_to(port):
    """The far ends of established TCP connections to a port of loopback (proc_pid_net(5)); a table that changes may show one twice."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {remote for _, local, remote, state, *_ in rows if local.endswith(f":{port:04X}") and state == "01"}


def test_many_pods_at_once_share_one_connection_to_the_webhook(tmp_path):
    with Podpass(tmp_path, "--node", "off") as podpass:
        call = Call(podpass.url, Credentials(podpass.kubeconfig, tmp_path))
        port = urllib.parse.urlsplit(json.loads((podpass.data / "endpoints.json").read_text())["webhook"]).port
        eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the default account")
        make_account(call, "default", "reader", ANNOTATED)

        def create(number):
            pod = {"metadata": {"name": f"app-{number}"}, "spec": {"serviceAccountName": "reader", "containers": [{"name": "c", "image": "i"}]}}
            return call("POST", "/api/v1/namespaces/default/pods", pod)
        seen = set()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            made = [pool.submit(create, number) for number in range(96)]
            while not all(each.done() for each in made):
                seen |= connections_to(port)
        answers = [each.result() for each in made]
        assert [answer.code for answer in answers] == [201] * 96
        assert all("aws-iam-token" in answer.body.decode() for answer in answers), "each was asked about"
        assert len(seen) == 1
        assert connections_to(port) == seen, "it is kept"


BAD = '{"response":{"uid":"","allowed":false,"status":{"metadata":{},"message":"%s"}}}'


@pytest.mark.parametrize("body,content,status,answer", [
    (b"{}", "text/plain", 415, "Invalid Content-Type, expected `application/json`\n"),
    (b"", "application/json", 200, BAD % "bad content"),
    (b'{"request":null}', "application/json", 200, BAD % "bad content"),
    (b'{"request":{"uid":"u"', "application/json", 200, BAD % "couldn't get version/kind; json parse error: unexpected end of JSON input"),
    (b"[" * 100_000, "application/json", 200, BAD % "couldn't get version/kind; json parse error: exceeded max depth"),
    (b" " * (4 << 20), "application/json", 413, "the AdmissionReview is too large\n")],
    ids=["another type", "empty", "null", "truncated", "deep", "huge"])
def test_what_is_no_review_is_answered_as_such(webhook, body, content, status, answer):
    assert webhook.raw(body, content) == (status, answer)
    assert webhook(review("default", "default"))["allowed"], "and the next is served"


def test_old_reviews_and_pods_with_names_twice_are_served(call, namespace, webhook):
    make_account(call, namespace, "reader", ANNOTATED)
    twice = {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}],
                                                          "volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}}
    old = dict(review(namespace, "reader", twice), apiVersion="admission.k8s.io/v1beta1")
    status, answer = webhook.raw(json.dumps(old).encode())
    assert status == 200 and json.loads(answer)["apiVersion"] == "admission.k8s.io/v1beta1"
    patch = json.loads(base64.b64decode(json.loads(answer)["response"]["patch"]))
    assert len(next(each["value"] for each in patch if each["path"] == "/spec/containers")) == 2
    twice["metadata"]["name"] = "twice"
    del twice["metadata"]["generateName"]
    refused = call("POST", f"/api/v1/namespaces/{namespace}/pods", twice)
    assert refused.code == 422 and "Duplicate value" in refused.json["message"], "the API server says so"


def test_a_pod_of_a_new_account_is_never_missed(call, namespace, webhook):
    for number in range(20):  # the account is asked about at once: the watch may not have told of it yet
        make_account(call, namespace, f"reader-{number}", ANNOTATED)
        given = environment(webhook.patch(namespace, f"reader-{number}"))
        assert given == {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}


def test_changes_of_an_account_are_followed(call, namespace, webhook):
    make_account(call, namespace, "reader", {})
    assert webhook.patch(namespace, "reader") is None
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/reader"
    patched = call("PATCH", path, {"metadata": {"annotations": ANNOTATED}}, {"Content-Type": "application/merge-patch+json"})
    assert patched.code == 200
    eventually(lambda: webhook.patch(namespace, "reader"), what="the annotation in effect")
    assert call("DELETE", path).code == 200
    eventually(lambda: webhook.patch(namespace, "reader") is None, what="the account gone")


def test_the_user_is_told_what_was_done(call, namespace, webhook):
    make_account(call, namespace, "reader", ANNOTATED)
    assert webhook(review(namespace, "reader"))["warnings"] == [
        f"pod identity: {namespace}/reader may assume {ROLE} with the token for sts.amazonaws.com"]


def test_the_config_map_serves_accounts_without_annotations(call, namespace, webhook):
    path = "/api/v1/namespaces/kube-system/configmaps"
    config = {f"{namespace}/listed": {"RoleARN": ROLE}, "*/anywhere": {"RoleARN": ROLE, "Audience": "mine"}, "nonsense": {}}
    assert call("POST", path, {"metadata": {"name": "pod-identity-webhook"}, "data": {"config": json.dumps(config)}}).code == 201
    try:
        eventually(lambda: webhook.patch(namespace, "listed"), what="the entry in effect")
        assert "mine" in json.dumps(webhook.patch("default", "anywhere"))
    finally:
        assert call("DELETE", path + "/pod-identity-webhook").code == 200
    eventually(lambda: webhook.patch(namespace, "listed") is None, what="the entries gone with the ConfigMap")


def test_token_injections_are_ordinary_objects(kubectl, call, namespace, webhook):
    kubectl("apply", "-f", "-", stdin={"apiVersion": "identity.podpass.dev/v1", "kind": "TokenInjection", "metadata": {"name": namespace},
                                       "spec": {"profile": "Vault", "match": {"serviceAccounts": [f"{namespace}/app"]}}})
    try:
        make_account(call, namespace, "app", {"identity.podpass.dev/vault-role": "app"})
        patch = eventually(lambda: webhook.patch(namespace, "app"), what="the injection in effect")
        assert '"audience": "vault"' in json.dumps(patch)
        assert "Vault" in kubectl("get", "tokeninjections", namespace)
        assert "serviceAccountAnnotation" in kubectl("explain", "tokeninjection.spec.match")
        refused = kubectl.run("apply", "-f", "-", stdin={"apiVersion": "identity.podpass.dev/v1", "kind": "TokenInjection",
                                                         "metadata": {"name": "bad"}, "spec": {"profile": "Nobody"}})
        assert refused.returncode != 0 and "supported values" in refused.stderr
    finally:
        kubectl("delete", "tokeninjection", namespace)


def test_associated_accounts_get_container_credentials(kubectl, call, namespace, webhook):
    make_account(call, namespace, "app", {})
    kubectl("apply", "-f", "-", stdin={"apiVersion": "identity.podpass.dev/v1", "kind": "PodIdentityAssociation", "metadata": {"name": "app"},
                                       "spec": {"serviceAccountName": "app", "roleArn": ROLE}})
    patch = eventually(lambda: webhook.patch(namespace, "app"), what="the association in effect")
    assert environment(patch)["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://169.254.170.23/v1/credentials"
    assert ROLE in kubectl("get", "pia")


def loopback_trust(pem):
    """The certificate names the Service, not 127.0.0.1."""
    trust = ssl.create_default_context(cadata=pem)
    trust.check_hostname = False
    return trust


def test_alone_it_makes_its_certificate_and_registers_its_authority(server, call, namespace, tmp_path):
    configuration = f"mine-{namespace}"
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    hook = {"name": "a.b.example", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "clientConfig": {"service": {"namespace": namespace, "name": "hook", "path": "/mutate"}},
            "objectSelector": {"matchLabels": {"never": "matches"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}
    assert call("POST", path, {"metadata": {"name": configuration}, "webhooks": [hook]}).code == 201
    flags = ["--namespace", namespace, "--service-name", "hook", "--tls-secret", "hook", "--webhook-configuration", configuration,
             "--aws-default-region=eu-west-1", "--enable-debugging-handlers"]
    make_account(call, namespace, "reader", ANNOTATED)
    try:
        with Standalone(tmp_path, server.kubeconfig, *flags) as one:
            port, metrics = one.ports()
            bundle = eventually(lambda: call("GET", f"{path}/{configuration}").json["webhooks"][0]["clientConfig"].get("caBundle"), what="a caBundle")
            secret = call("GET", f"/api/v1/namespaces/{namespace}/secrets/hook").json
            assert secret["type"] == "kubernetes.io/tls" and secret["data"]["ca.crt"] == bundle
            hooked = Webhook(f"https://127.0.0.1:{port}/mutate", loopback_trust(base64.b64decode(bundle).decode()))
            assert environment(hooked.patch(namespace, "reader"))["AWS_REGION"] == "eu-west-1"
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as answer:
                assert 'pod_identity_webhook_pod_count{method="sts_web_identity"} 1' in answer.read().decode()
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/debug/alpha/cache", timeout=20) as answer:
                assert json.loads(answer.read())[f"{namespace}/reader"]["RoleARN"] == ROLE
            (tmp_path / "second").mkdir()
            with Standalone(tmp_path / "second", server.kubeconfig, *flags) as other:  # a replica takes the same certificate
                replica = Webhook(f"https://127.0.0.1:{other.ports()[0]}/mutate", loopback_trust(base64.b64decode(bundle).decode()))
                assert replica.patch(namespace, "reader") == hooked.patch(namespace, "reader")
    finally:
        call("DELETE", f"{path}/{configuration}")


def test_beside_up_it_leaves_the_webhook_of_up_alone(server, call, namespace, tmp_path):
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pod-identity-webhook"
    before = call("GET", path).json["webhooks"]
    with Standalone(tmp_path, server.kubeconfig, "--namespace", namespace) as one:
        one.ports()
        eventually(lambda: call("GET", f"/api/v1/namespaces/{namespace}/secrets/pod-identity-webhook").code == 200, what="its certificate")
        make_account(call, namespace, "reader", ANNOTATED)
        assert call("GET", path).json["webhooks"] == before
    assert call("GET", path).json["webhooks"] == before


class Metadata(http.server.BaseHTTPRequestHandler):
    """An instance metadata service, version 2: nothing without a token."""

    def answer(self, status, text=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):  # noqa: N802
        self.answer(200 if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else 400, "the-token")

    def do_GET(self):  # noqa: N802
        known = self.headers.get("X-aws-ec2-metadata-token") == "the-token" and self.path == "/latest/dynamic/instance-identity/document"
        self.answer(200 if known else 401, json.dumps({"accountId": "444455556666", "region": "us-gov-west-1"}))

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("flags,arn", [(["--account-id=210987654321"], "arn:aws:iam::210987654321:role/team/reader"),
                                       (["--account-id=210987654321", "--aws-default-region=cn-north-1"], "arn:aws-cn:iam::210987654321:role/team/reader"),
                                       ([], "arn:aws-us-gov:iam::444455556666:role/team/reader")],
                         ids=["told", "told with a region", "asked"])
def test_bare_role_names_are_completed(server, call, namespace, tmp_path, monkeypatch, flags, arn):
    make_account(call, namespace, "reader", {"eks.amazonaws.com/role-arn": "team/reader"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as metadata:
        threading.Thread(target=metadata.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{metadata.server_port}")
        try:
            with Standalone(tmp_path, server.kubeconfig, "--namespace", namespace, "--webhook-configuration", "none", "--compose-role-arn", *flags) as one:
                port, _ = one.ports()
                bundle = base64.b64decode(call("GET", f"/api/v1/namespaces/{namespace}/secrets/pod-identity-webhook").json["data"]["ca.crt"]).decode()
                hooked = Webhook(f"https://127.0.0.1:{port}/mutate", loopback_trust(bundle))
                assert environment(hooked.patch(namespace, "reader"))["AWS_ROLE_ARN"] == arn
        finally:
            metadata.shutdown()


def test_an_account_that_nobody_knows_is_asked_for(server, namespace, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    refused = subprocess.run([os.environ["PODPASS"], "webhook", "--kubeconfig", str(server.kubeconfig), "--namespace", namespace, "--bind", "127.0.0.1",
                              "--port", "0", "--metrics-port", "0", "--compose-role-arn"], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1 and "fix: say the account with --account-id" in refused.stderr, refused


def test_each_admission_is_a_line(server, call, namespace, tmp_path):
    make_account(call, namespace, "reader", ANNOTATED)
    secret = "a-value-of-the-environment"
    pod = {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "PASSWORD", "value": secret}]}]}}
    with Standalone(tmp_path, server.kubeconfig, "--namespace", namespace, "--webhook-configuration", "none", "-v", "3") as one:
        port, _ = one.ports()
        bundle = base64.b64decode(call("GET", f"/api/v1/namespaces/{namespace}/secrets/pod-identity-webhook").json["data"]["ca.crt"]).decode()
        hooked = Webhook(f"https://127.0.0.1:{port}/mutate", loopback_trust(bundle))
        assert hooked.patch(namespace, "reader", pod)
        assert hooked.patch(namespace, "default") is None
        mutated, untouched = eventually(lambda: len(lines := [line for line in one.log().splitlines() if 'uid="u-1"' in line or "uid=u-1" in line]) == 2 and lines,
                                        what="two lines")
        assert 'msg="Pod was mutated."' in mutated and "allowed=true mutated=true" in mutated.replace('"', "")
        assert "Reason: Service account did not have the right annotations" in untouched and "mutated=false" in untouched.replace('"', "")
        for word in (f"ns={namespace}", "name=p-", "serviceaccount=reader", "verb=CREATE", "took_ms="):
            assert word in mutated.replace('"', ""), mutated
        assert secret not in one.log()


def test_told_to_stop_it_serves_until_callers_are_gone(server, call, namespace, tmp_path):
    make_account(call, namespace, "reader", ANNOTATED)
    flags = ["--namespace", namespace, "--webhook-configuration", "none"]
    with Standalone(tmp_path, server.kubeconfig, *flags, shutdown_delay="3s") as one:
        port, _ = one.ports()
        base = f"https://127.0.0.1:{port}"
        bundle = base64.b64decode(call("GET", f"/api/v1/namespaces/{namespace}/secrets/pod-identity-webhook").json["data"]["ca.crt"]).decode()
        trust = loopback_trust(bundle)

        def ready():
            try:
                with urllib.request.urlopen(base + "/readyz", timeout=20, context=trust) as answer:
                    return answer.status
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return refusal.code
        eventually(lambda: ready() == 200, what="ready")
        began = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        eventually(lambda: ready() == 503, what="not ready")
        hooked = Webhook(base + "/mutate", trust)
        body = json.dumps(review(namespace, "reader")).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, trust.wrap_socket(plain, server_hostname="hook") as slow:
            head = f"POST /mutate HTTP/1.1\r\nHost: hook\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            slow.sendall(head.encode() + body[:40])
            served = 0
            while time.monotonic() < began + 2:
                assert hooked.patch(namespace, "reader")
                served += 1
            assert served > 1 and one.process.poll() is None, "it went on serving"
            eventually(lambda: 'msg="stopping"' in one.log(), what="the end of the delay")
            assert time.monotonic() - began >= 3
            slow.sendall(body[40:])
            assert b'"patch"' in slow.recv(65536), "a call in flight was finished"
        assert one.process.wait(20) == 0, one.log()


def test_told_to_stop_twice_it_does_not_wait(server, namespace, tmp_path):
    flags = ["--namespace", namespace, "--webhook-configuration", "none"]
    with Standalone(tmp_path, server.kubeconfig, *flags, shutdown_delay="10m") as one:
        one.ports()
        one.process.send_signal(signal.SIGTERM)
        eventually(lambda: 'msg="draining"' in one.log(), what="draining")
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0, one.log()


def test_alone_it_is_small(server, namespace, tmp_path):
    with Standalone(tmp_path, server.kubeconfig, "--namespace", namespace, "--webhook-configuration", "none") as one:
        one.ports()
        eventually(lambda: resident_mb(one.process) < 10, what="less than 10 MB")


def own_certificate(directory):
    """The flags of a webhook that serves with it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=hook",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", directory / "tls.key", "-out", directory / "tls.crt"], check=True, capture_output=True)
    return ["--in-cluster=false", f"--tls-cert={directory}/tls.crt", f"--tls-key={directory}/tls.key"]


@pytest.mark.parametrize("verbosity", [["-v=4"], ["-v", "4"], ["--v=4"], ["--v=0", "-v4"]])
def test_flags_are_written_as_for_the_original(server, call, namespace, tmp_path, verbosity):
    make_account(call, namespace, "reader", ANNOTATED)
    flags = ["--aws-default-region=", "--token-audience=replaced", "--kube-api=", "--logtostderr=false", "--alsologtostderr", "--vmodule=", "--log_dir", "/nowhere",
             "--stderrthreshold=FATAL", "--sts-regional-endpoint", "--watch-config-map=false", "--tls-cipher-suites=", "--namespace", namespace,
             "--token-audience", "last.example"]
    with Standalone(tmp_path, server.kubeconfig, *own_certificate(tmp_path), *flags, *verbosity) as one:
        hooked = Webhook(f"https://127.0.0.1:{one.ports()[0]}/mutate", str(tmp_path / "tls.crt"))
        patch = eventually(lambda: hooked.patch(namespace, "reader"), what="an identity")
        assert "last.example" in json.dumps(patch) and "replaced" not in json.dumps(patch)
        assert "AWS_REGION" not in environment(patch) and environment(patch)["AWS_STS_REGIONAL_ENDPOINTS"] == "regional"
        assert "level=debug" in one.log(), "-v is 4"


def test_pods_that_were_admitted_without_are_reported(server, call, namespace, tmp_path):
    make_account(call, namespace, "late", {})
    pod = {"metadata": {"name": "early"}, "spec": {"serviceAccountName": "late", "containers": [{"name": "c", "image": "i"}]}}
    assert call("POST", f"/api/v1/namespaces/{namespace}/pods", pod).code == 201
    call("PATCH", f"/api/v1/namespaces/{namespace}/serviceaccounts/late", {"metadata": {"annotations": ANNOTATED}},
         {"Content-Type": "application/merge-patch+json"})
    with Standalone(tmp_path, server.kubeconfig, "--namespace", namespace, "--scan-interval=1s", "--webhook-configuration", "none") as one:
        _, metrics = one.ports()

        def reported():
            events = call("GET", f"/api/v1/namespaces/{namespace}/events").json["items"]
            return [each for each in events if each["reason"] == "IdentityMissing"]
        event = eventually(reported, what="an event")[0]
        assert event["involvedObject"]["name"] == "early" and "aws-iam-token" in event["message"]
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as answer:
            assert int(re.search(r"podpass_webhook_unmutated_pods (\d+)", answer.read().decode()).group(1)) >= 1


def test_what_cannot_be_known_is_denied_or_admitted_as_told(tmp_path, server):
    """An API server that is away: its kubeconfig leads nowhere."""
    kubeconfig = tmp_path / "nowhere"
    kubeconfig.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", server.kubeconfig.read_text()))
    flags = own_certificate(tmp_path)
    for told, allowed in (("deny", False), ("admit", True)):
        with Standalone(tmp_path, kubeconfig, *flags, f"--on-unknown={told}") as one:
            hooked = Webhook(f"https://127.0.0.1:{one.ports()[0]}/mutate", str(tmp_path / "tls.crt"))
            response = hooked(review("default", "anybody"))
            assert response["allowed"] is allowed
            assert allowed or "could not be read" in response["status"]["message"]


@pytest.mark.parametrize("flag,sentence", [("--tls-min-version=9", "Invalid value for tls-min-version unsupported version 9"),
                                           ("--tls-cipher-suites=TLS_NONSENSE", "invalid tls-cipher-suites: unsupported cipher suite: TLS_NONSENSE"),
                                           ("--scan-interval=often", "invalid duration"), ("--shutdown-delay=11m", "invalid duration")])
def test_flags_that_make_no_sense_are_refused(server, flag, sentence, tmp_path):
    refused = subprocess.run([os.environ["PODPASS"], "webhook", "--kubeconfig", str(server.kubeconfig), "--namespace", "default", "--tls-secret", "refused",
                              "--bind", "127.0.0.1", "--port", "0", "--metrics-port", "0", flag], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1 and sentence in refused.stderr, refused


def test_an_unknown_flag_is_a_usage_error():
    refused = subprocess.run([os.environ["PODPASS"], "webhook", "--nonsense"], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 2 and "--nonsense" in refused.stderr
    version = subprocess.run([os.environ["PODPASS"], "webhook", "--version"], capture_output=True, text=True, timeout=30, check=False)
    assert (version.returncode, version.stdout.strip()) == (0, "v0.1.0")
