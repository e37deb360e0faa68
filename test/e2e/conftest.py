"""One podpass for the whole run, and a namespace of its own for each test."""

import os
import pathlib
import shutil
import tempfile

import image
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


def new_namespace(call):
    made = call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "e2e-"}})
    assert made.code == 201, made
    name = made.json["metadata"]["name"]
    eventually(lambda: call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").json.get("secrets"),
               what=f"service account {name}/default with a token Secret")
    return name


@pytest.fixture
def namespace(call):
    """A namespace for one test, with its default service account and its token Secret in place."""
    name = new_namespace(call)
    yield name
    call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubectl(cluster_kubectl, namespace):
    """kubectl in the namespace of this test."""
    return cluster_kubectl.within(namespace)


@pytest.fixture(scope="session")
def node_server():
    """A podpass that runs containers, with image.NAME at hand."""
    if os.geteuid() != 0:
        pytest.skip("running containers needs root")
    missing = [need for need in ("containerd", "runc", "ctr", image.BUSYBOX) if not shutil.which(need)]
    if missing:
        pytest.skip(f"running containers needs {missing}")
    with tempfile.TemporaryDirectory(prefix="podpass-") as made:  # a short path: a socket's is 107 characters at most
        with Podpass(made) as running:  # stops what it started, or its mounts would keep the directory
            image.put_into(running.data, pathlib.Path(made))
            yield running


@pytest.fixture(scope="session")
def node_call(node_server, tmp_path_factory):
    return Call(node_server.url, Credentials(node_server.kubeconfig, tmp_path_factory.mktemp("node-credentials")))


@pytest.fixture(scope="module")
def node_namespace(node_call):
    """One namespace for a module's pods; gone with all of them at its end."""
    name = new_namespace(node_call)
    yield name
    node_call("DELETE", f"/api/v1/namespaces/{name}")
    eventually(lambda: node_call("GET", f"/api/v1/namespaces/{name}").code == 404, seconds=60, what="the end of the namespace and its pods")
