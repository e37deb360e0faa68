"""What an operator sees of the requests: the counters of /metrics, and the audit log, which holds no secret."""

import base64
import json
import stat

import pytest
from conftest import Call, Credentials, Podpass, eventually
from podpass import resident_mb

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
SECRETS = "/api/v1/namespaces/default/secrets"
HIDDEN = "a value that nobody may read in a log"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    directory = tmp_path_factory.mktemp("audited")
    with Podpass(directory, "--node", "off", "--audit-log-path", str(directory / "audit.log")) as server:
        yield Call(server.url, Credentials(server.kubeconfig, directory)), server, directory / "audit.log"


def sample(call, start, **labels):
    """The value of the one series that has these labels."""
    answer = call("GET", "/metrics")
    assert answer.code == 200, answer
    assert answer.headers["Content-Type"].startswith("text/plain"), answer.headers
    found = [line for line in answer.body.decode().splitlines()
             if line.startswith(start) and all(f'{name}="{value}"' in line for name, value in labels.items())]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def test_an_idle_server_is_small(audited):
    _, server, _ = audited
    eventually(lambda: resident_mb(server.process) < 20, what="less than 20 MB")


def test_requests_are_counted_where_endpoints_json_says(audited):
    call, server, _ = audited
    assert json.loads((server.data / "endpoints.json").read_text())["metrics"] == server.url + "/metrics"
    of = {"resource": "configmaps", "verb": "GET", "code": "404"}
    before = sample(call, "apiserver_request_total{", **of)
    for _ in range(3):
        assert call("GET", "/api/v1/namespaces/default/configmaps/none").code == 404
    assert sample(call, "apiserver_request_total{", **of) == before + 3
    assert call("GET", "/metrics", token="").code == 403, "not for everybody"


def test_the_audit_log_names_who_did_what_and_no_secret(audited):
    call, _, log = audited
    eventually(lambda: call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200)
    made = call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {"audiences": []}})
    assert made.code == 201, made
    token = made.json["status"]["token"]
    assert call("POST", SECRETS, {"metadata": {"name": "hidden"}, "stringData": {"key": HIDDEN}}).code == 201
    assert call("GET", SECRETS + "/hidden").json["data"]["key"] == base64.b64encode(HIDDEN.encode()).decode()
    assert call("POST", TOKEN_REVIEWS, {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}).code == 201
    assert call("GET", SECRETS + "/hidden", token=token, headers={"Audit-Id": "the-last-one"}).code == 403
    assert call("GET", SECRETS, token=token + "x", headers={"Audit-Id": "not-known"}).code == 401

    text = eventually(lambda: "not-known" in log.read_text() and log.read_text(), what="the last event")
    events = {event["auditID"]: event for event in map(json.loads, text.splitlines())}
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    refused = events["the-last-one"]
    assert refused["user"]["username"] == "system:serviceaccount:default:default"
    assert (refused["verb"], refused["responseStatus"]["code"]) == ("get", 403)
    assert refused["objectRef"] == {"resource": "secrets", "namespace": "default", "name": "hidden", "apiVersion": "v1"}
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert events["not-known"]["responseStatus"]["code"] == 401
    for secret in (HIDDEN, base64.b64encode(HIDDEN.encode()).decode(), token, token.rsplit(".", 1)[1]):
        assert secret not in text
