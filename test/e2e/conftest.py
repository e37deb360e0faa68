"""One podpass for the whole run, and a namespace of its own for each test."""

import os
import pathlib

import pytest
from podpass import Call, Credentials, Kubectl, Lines, Podpass, eventually  # noqa: F401 (tests import some from here)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if not os.environ.get("PODPASS"):
        pytest.exit("PODPASS must name the podpass binary", returncode=2)
    with Podpass(tmp_path_factory.mktemp("podpass"), "--node", "off") as running:
        yield running


@pytest.fixture(scope="session")
def credentials(server, tmp_path_factory):
    return Credentials(server.kubeconfig, tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="session")
def call(server, credentials):
    return Call(server.url, credentials)


@pytest.fixture(scope="session")
def cluster_kubectl(server, tmp_path_factory):
    return Kubectl(server.kubeconfig, pathlib.Path(tmp_path_factory.mktemp("home")))


@pytest.fixture
def namespace(call):
    """A namespace for one test, with its default service account and its token Secret in place."""
    made = call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "e2e-"}})
    assert made.code == 201, made
    name = made.json["metadata"]["name"]
    eventually(lambda: call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").json.get("secrets"),
               what=f"service account {name}/default with a token Secret")
    yield name
    call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubectl(cluster_kubectl, namespace):
    """kubectl in the namespace of this test."""
    return cluster_kubectl.within(namespace)
