"""What is in deploy/: the manifests with real kubectl, the rights that they give, and the image."""

import base64
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request

import pytest
import yaml
from podpass import Call, Credentials, Kubectl, Podpass, Standalone, eventually

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
HERE = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "MutatingWebhookConfiguration"}
ELSEWHERE = {"Deployment", "PodDisruptionBudget", "Service"}  # kinds that podpass does not serve
ACCOUNT = "system:serviceaccount:eks:pod-identity-webhook"


def documents(file):
    return [each for each in yaml.safe_load_all((DEPLOY / file).read_text()) if each]


def the(kind):
    return next(each for each in documents("webhook/webhook.yaml") if each["kind"] == kind)


def container():
    return the("Deployment")["spec"]["template"]["spec"]["containers"][0]


def manifest():
    """What can be applied here, as YAML."""
    return yaml.safe_dump_all(each for each in documents("webhook/webhook.yaml") if each["kind"] in HERE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A podpass without a webhook of its own, kubectl for it, and the manifests applied."""
    directory = tmp_path_factory.mktemp("deploy")
    with Podpass(directory, "--node", "off", "--webhook-port", "-1") as running:
        kubectl = Kubectl(running.kubeconfig, directory)
        running.kubectl = kubectl
        running.call = Call(running.url, Credentials(running.kubeconfig, directory))
        for each in documents("webhook/webhook.yaml"):  # a dry run keeps no namespace for what comes after it
            if each["kind"] == "Namespace":
                kubectl("apply", "-f", "-", stdin=each)
        running.dry = kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest())
        running.applied = kubectl("apply", "-f", "-", stdin=manifest())
        yield running


def test_kubectl_applies_every_manifest(place):
    assert {each["kind"] for each in documents("webhook/webhook.yaml")} == HERE | ELSEWHERE
    assert len(re.findall("created|configured|unchanged", place.dry)) == len(list(yaml.safe_load_all(manifest())))
    def versions():
        return [each["metadata"]["resourceVersion"] for each in place.kubectl.json("get", "-f", "-", stdin=manifest())["items"]]
    before = versions()
    place.kubectl("apply", "-f", "-", stdin=manifest())
    assert versions() == before, "applied twice is applied once"
    hook = place.kubectl.json("get", "mutatingwebhookconfiguration", "pod-identity-webhook")["webhooks"][0]
    assert (hook["failurePolicy"], hook["matchPolicy"], hook["sideEffects"]) == ("Ignore", "Equivalent", "None")


def test_the_pod_of_the_deployment_is_valid_and_restricted(place):
    template = the("Deployment")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", "namespace": "eks", **template["metadata"]}, "spec": template["spec"]}
    made = place.kubectl.json("apply", "--dry-run=server", "-f", "-", stdin=pod)
    assert "projected" in json.dumps(made["spec"]["volumes"]), "the token with which it asks"
    spec, one = template["spec"], container()
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(spec)
    assert one["imagePullPolicy"] == "IfNotPresent"
    assert one["readinessProbe"]["httpGet"]["path"] == "/readyz" and one["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert spec["terminationGracePeriodSeconds"] > 15, "the delay and the calls in flight"
    assert spec["topologySpreadConstraints"] and the("PodDisruptionBudget")["spec"]["selector"] == the("Deployment")["spec"]["selector"]
    assert the("Deployment")["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert "eks.amazonaws.com/skip-pod-identity-webhook" in template["metadata"]["labels"], "it must not wait for itself"


def test_the_flags_of_the_deployment_exist():
    shown = subprocess.run([os.environ["PODPASS"], *container()["command"][1:], "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
    for flag in container()["args"]:
        assert re.search(rf"{flag.split('=')[0]}\b", shown), flag


def kubeconfig_of(place, directory):
    """Of the webhook's service account, with a token and nothing else."""
    config = yaml.safe_load(place.kubeconfig.read_text())
    made = place.call("POST", "/api/v1/namespaces/eks/serviceaccounts/pod-identity-webhook/token", {"spec": {"expirationSeconds": 600}})
    token = made.json["status"]["token"]
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


def test_its_rights_are_enough(place, tmp_path):
    place.kubectl("create", "namespace", "shop")
    place.kubectl("create", "serviceaccount", "cart", "-n", "shop")
    place.kubectl("annotate", "serviceaccount", "cart", "-n", "shop", "eks.amazonaws.com/role-arn=arn:aws:iam::210987654321:role/cart")
    missed = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "early", "namespace": "shop"},
              "spec": {"serviceAccountName": "cart", "containers": [{"name": "c", "image": "i"}]}}
    place.kubectl("apply", "-f", "-", stdin=missed)
    flags = [flag for flag in container()["args"] if "port=" not in flag]
    with Standalone(tmp_path, kubeconfig_of(place, tmp_path), *flags, "--scan-interval=1s") as one:
        port, _ = one.ports()
        bundle = place.kubectl("get", "mutatingwebhookconfiguration", "pod-identity-webhook", "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}")
        trust = ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
        trust.check_hostname = False

        def ready():
            try:
                with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", timeout=20, context=trust) as answer:
                    return answer.status == 200
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return False
        eventually(ready, what=f"ready: {one.log()}")
        event = eventually(lambda: [each for each in place.kubectl.json("get", "events", "-n", "shop")["items"] if each["reason"] == "IdentityMissing"],
                           what="an event")[0]
        assert event["involvedObject"]["name"] == "early"
        assert not re.search("forbidden|could not|cannot", one.log()), one.log()


@pytest.mark.parametrize("verb,resource,namespace", [
    ("list", "secrets", "eks"), ("get", "secrets/another", "eks"), ("delete", "secrets/pod-identity-webhook", "eks"), ("get", "secrets", "kube-system"),
    ("create", "pods", "eks"), ("delete", "pods", "shop"), ("create", "pods/eviction", "shop"), ("get", "configmaps/another", "eks"),
    ("update", "mutatingwebhookconfigurations.admissionregistration.k8s.io/another", ""), ("create", "serviceaccounts/token", "eks"),
    ("update", "serviceaccounts", "shop"), ("create", "tokeninjections.identity.podpass.dev", ""), ("*", "*", "")])
def test_its_rights_are_no_more(place, verb, resource, namespace):
    scope = ["-n", namespace] if namespace else []
    said = place.kubectl.run("auth", "can-i", verb, resource, "--as", ACCOUNT, *scope)
    assert said.stdout.strip() == "no", said


def test_the_custom_resource_definitions_are_well_formed():
    """Their content is held equal to the kinds by a unit test."""
    found = {each["metadata"]["name"] for file in ("webhook/crds.yaml", "sts/crds.yaml") for each in documents(file)}
    assert found == {"tokeninjections.identity.podpass.dev", "podidentityassociations.identity.podpass.dev", "roles.iam.podpass.dev",
                     "oidcproviders.iam.podpass.dev"}
    for file in ("webhook/crds.yaml", "sts/crds.yaml"):
        for each in documents(file):
            names = each["spec"]["names"]
            assert each["metadata"]["name"] == f"{names['plural']}.{each['spec']['group']}"
            assert each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["type"] == "object"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "image.tar"
    subprocess.run([DEPLOY / "image.py", os.environ["PODPASS"], path], check=True, capture_output=True, timeout=120)
    return path


def test_the_image_is_the_program_and_what_it_needs(archive, tmp_path):
    with tarfile.open(archive) as packed:
        said = {name: json.load(packed.extractfile(name)) for name in ("manifest.json", "config.json")}
        inner = packed.extractfile("layer.tar").read()
    assert said["manifest.json"][0]["RepoTags"] == [container()["image"]]
    assert said["config.json"]["config"] == {"Entrypoint": ["/podpass"], "User": "65534:65534"}
    with tarfile.open(fileobj=io.BytesIO(inner)) as layer:
        names = layer.getnames()
        assert "podpass" in names and "usr/lib/ssl/cert.pem" in names and not [each for each in names if each.endswith("/sh")]
        assert not [each for each in layer.getmembers() if each.mode & 0o6022 and each.name != "tmp"], "nobody can write to it, nothing changes who one is"
    again = tmp_path / "again.tar"
    subprocess.run([DEPLOY / "image.py", os.environ["PODPASS"], again], check=True, capture_output=True, timeout=120)
    assert again.read_bytes() == archive.read_bytes()


def test_a_program_that_is_not_there_makes_no_image(tmp_path):
    refused = subprocess.run([DEPLOY / "image.py", tmp_path / "none", tmp_path / "image.tar"], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1 and "fix: make build" in refused.stderr and not (tmp_path / "image.tar").exists()


@contextlib.contextmanager
def with_nodes():
    with tempfile.TemporaryDirectory(prefix="podpass-") as made:  # a short path: a socket's is 107 characters at most
        with Podpass(made, "--webhook-port", "-1") as running:
            yield running, pathlib.Path(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="runs containers, and that needs root")
@pytest.mark.skipif(not all(map(shutil.which, ("containerd", "runc", "ctr"))), reason="runs containers, and that needs containerd, runc and ctr")
def test_the_deployed_pod_becomes_ready(archive):
    """The image in a container, as the Deployment would run it: its own token, its rights, its probes."""
    with with_nodes() as (running, directory):
        kubectl = Kubectl(running.kubeconfig, directory)
        kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        socket = running.data / "node/containerd/containerd.sock"
        subprocess.run(["ctr", "-a", socket, "-n", "k8s.io", "images", "import", archive], check=True, capture_output=True, timeout=120)
        kubectl("apply", "-f", "-", stdin=manifest())
        template = the("Deployment")["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "webhook", "namespace": "eks", **template["metadata"]}, "spec": template["spec"]}
        kubectl("apply", "-f", "-", stdin=pod)
        waited = kubectl.run("wait", "-n", "eks", "--for=condition=Ready", "pod/webhook", "--timeout=50s")
        assert waited.returncode == 0, kubectl.run("describe", "pod", "webhook", "-n", "eks").stdout + kubectl.run("logs", "webhook", "-n", "eks").stdout
        assert kubectl("get", "secret", "pod-identity-webhook", "-n", "eks", "-o", "jsonpath={.type}") == "kubernetes.io/tls"
        kubectl("delete", "pod", "webhook", "-n", "eks", "--wait", "--timeout=50s")
