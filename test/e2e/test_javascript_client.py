"""The official JavaScript client (@kubernetes/client-node), unchanged."""

import json
import os
import pathlib
import shutil
import subprocess

import image
import pytest
from podpass import eventually, fetched

WALK = pathlib.Path(__file__).parent / "client_node.mjs"


def walked(*arguments):
    """What each step of the walk gave, by its name."""
    if not shutil.which("node") or not fetched("client-node/package.json"):
        pytest.skip("@kubernetes/client-node was not fetched (no npm, or no registry: see the test `clients`)")
    done = subprocess.run(["node", str(WALK), *map(str, arguments)], capture_output=True, text=True, timeout=90, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr + done.stdout
    return {said["step"]: said["result"] for said in map(json.loads, done.stdout.splitlines())}


def test_objects_tokens_and_watches(server, namespace):
    said = walked(server.kubeconfig, namespace)
    assert said["create"] == {"k": "1"} and said["replace"] == {"k": "2"} and said["patch"] == {"k": "2", "l": "3"}
    assert said["absent"] == 404
    assert said["review"] == f"system:serviceaccount:{namespace}:default"
    assert said["watch"] == ["ADDED", "DELETED"]


def test_exec_logs_and_port_forward(node_server, node_call, node_namespace):
    pods = f"/api/v1/namespaces/{node_namespace}/pods"
    container = {"name": "main", "image": image.NAME, "imagePullPolicy": "IfNotPresent",
                 "command": ["sh", "-c", "echo began; httpd -f -p 8080 -h /www"]}
    made = node_call("POST", pods, {"metadata": {"name": "js"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}})
    assert made.code == 201, made
    eventually(lambda: node_call("GET", pods + "/js").json["status"].get("phase") == "Running", seconds=60, what="Running")
    said = walked(node_server.kubeconfig, node_namespace, "js")
    assert said["exec"] == {"out": "hello\n", "err": "err\n", "status": "Failure", "cause": "3"}
    assert said["log"] == "began\n"
    assert said["forward"] == "served from the container\n"
