"""What somebody without any credentials may read: health, the version, and the issuer's documents unless they are closed."""

import pytest
from conftest import Call, Credentials, Podpass

OPEN = ["/healthz", "/livez", "/readyz", "/version"]
CLOSED = ["/livez/ping", "/api", "/api/v1", "/apis", "/apis/authentication.k8s.io", "/openapi/v2", "/openapi/v3", "/metrics", "/",
          "/api/v1/namespaces", "/api/v1/namespaces/default/serviceaccounts/default", "/openid/v1", "/.well-known"]
ISSUER = ["/.well-known/openid-configuration", "/openid/v1/jwks", "/openid/v1/revocations"]


@pytest.fixture(scope="module")
def closed_call(tmp_path_factory):
    directory = tmp_path_factory.mktemp("closed")
    with Podpass(directory, "--node", "off", "--no-anonymous-issuer-discovery") as running:
        yield Call(running.url, Credentials(running.kubeconfig, directory))


def assert_forbidden(answer, path):
    assert answer.code == 403, answer
    assert answer.json["reason"] == "Forbidden" and 'User "system:anonymous" cannot' in answer.json["message"], (path, answer)


@pytest.mark.parametrize("path", OPEN + ISSUER)
def test_is_open_to_anybody(call, path):
    assert call("GET", path, token="").code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_is_closed_to_strangers(call, path):
    assert_forbidden(call("GET", path, token=""), path)


@pytest.mark.parametrize("path", OPEN)
def test_nobody_changes_what_anybody_reads(call, path):
    assert_forbidden(call("POST", path, {}, token=""), path)


@pytest.mark.parametrize("path", ISSUER)
def test_the_documents_of_the_issuer_are_for_reading(call, path):
    refused = call("POST", path, {}, token="")
    assert refused.code == 405 and refused.headers["Allow"] == "GET, HEAD, OPTIONS", refused


@pytest.mark.parametrize("path", ISSUER)
def test_the_documents_of_the_issuer_can_be_closed(closed_call, path):
    for method in ("GET", "OPTIONS"):
        assert_forbidden(closed_call(method, path, token=""), path)
    assert closed_call("GET", path).code == 200


@pytest.mark.parametrize("path", OPEN)
def test_health_stays_open_when_the_issuer_is_closed(closed_call, path):
    assert closed_call("GET", path, token="").code == 200
