"""Identity inside real containers: AWS's clients there get credentials from STS and at 169.254.170.23, with nothing but what is injected
and an endpoint setting. The clients are this machine's and those of fetch_clients.py, mounted into an empty image."""

import contextlib
import json
import os
import re
import subprocess

import pytest
from podpass import Podpass, eventually, fetched
from test_container_credentials import TRUST, association
from test_node import image_archive, import_image, pod
from test_sts import ACCOUNT, BOTO, JAVASCRIPT, Sts, todays

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs containers, and that needs root")

ASK = ["sts", "get-caller-identity", "--output", "json"]
CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


class Cluster(Sts):
    def __init__(self, podpass, directory):
        super().__init__(podpass, directory)
        self.kubectl = self.kubectl.within("default")
        self.endpoints = json.loads((podpass.data / "endpoints.json").read_text())

    def serves(self, name, account):
        """A pod of that service account in which clients are run."""
        clients = fetched(".")
        volumes = [{"name": "tmp", "emptyDir": {}}, *([{"name": "clients", "hostPath": {"path": str(clients)}}] if clients else [])]
        mounts = [{"name": "tmp", "mountPath": "/tmp"}, *([{"name": "clients", "mountPath": "/clients", "readOnly": True}] if clients else [])]
        made = pod(name, "exec sleep 3600", volumes, mounts)
        made["spec"]["serviceAccountName"] = account
        self.kubectl("apply", "-f", "-", stdin=made)
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")

    def inside(self, name, *command, **environment):
        """What a command in the pod prints: with its environment, and HOME."""
        given = [f"{key}={value}" for key, value in {"HOME": "/tmp", **environment}.items()]
        return self.kubectl.run("exec", name, "--", "/usr/bin/env", *given, *command)


@contextlib.contextmanager
def cluster_in(directory, account=ACCOUNT):
    """A podpass that runs pods, with a role for those of the service account `associated`."""
    (directory / "home").mkdir()
    with Podpass(directory, "--sts-connect-proxy", "127.0.0.1:0", "--account-id", account) as podpass:
        made = Cluster(podpass, directory / "home")
        made.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        image_archive(directory / "image.tar")
        import_image(podpass.data / "node", directory / "image.tar")
        eventually(lambda: made.kubectl.run("get", "serviceaccount", "default").returncode == 0, what="service account default")
        made.role("pods", TRUST)
        made.kubectl("create", "serviceaccount", "associated")
        mine = association("mine", "associated", "pods")
        mine["spec"]["roleArn"] = f"arn:aws:iam::{account}:role/pods"
        made.kubectl("apply", "-f", "-", stdin=mine)
        made.kubectl("apply", "-f", "-", stdin={
            "apiVersion": "identity.podpass.dev/v1", "kind": "TokenInjection", "metadata": {"name": "where-sts-is"},
            "spec": {"profile": "EKSPodIdentity", "match": {"serviceAccounts": ["default/associated"]}, "env": settings(made)}})
        yield made


def settings(cluster):
    """Where STS is, and whom to trust for it: no client knows by itself."""
    wanted = {"AWS_ENDPOINT_URL_STS": cluster.endpoints["stsForPods"], "AWS_CA_BUNDLE": CA, "NODE_EXTRA_CA_CERTS": CA,
              "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    return [{"name": name, "value": value} for name, value in wanted.items()]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with cluster_in(tmp_path_factory.mktemp("c")) as made:
        made.role("reader", made.policy("system:serviceaccount:default:annotated"))
        made.kubectl("create", "serviceaccount", "annotated")
        made.kubectl("annotate", "serviceaccount", "annotated", f"eks.amazonaws.com/role-arn=arn:aws:iam::{ACCOUNT}:role/reader")
        made.kubectl("apply", "-f", "-", stdin={
            "apiVersion": "identity.podpass.dev/v1", "kind": "TokenInjection", "metadata": {"name": "where-sts-is-for-roles"},
            "spec": {"profile": "AWSWebIdentity", "env": settings(made)}})
        made.serves("annotated", "annotated")
        made.serves("associated", "associated")
        made.serves("neither", "default")
        yield made
    rules = subprocess.run(["iptables", "-w", "5", "-t", "nat", "-S"], capture_output=True, text=True, timeout=30, check=False).stdout
    assert made.endpoints["stsForPods"].split("/")[2].split(":")[0] not in rules, f"rules were left behind:\n{rules}"


def where(command):
    """A command of todays() as the container sees it."""
    return [word.replace(str(fetched(".")), "/clients") for word in command]


SESSIONS = {"annotated": rf"arn:aws:sts::{ACCOUNT}:assumed-role/reader/(botocore|aws-sdk-js)-session-\d+",
            "associated": rf"arn:aws:sts::{ACCOUNT}:assumed-role/pods/eks-podpass-associated-[0-9a-f-]{{36}}"}


@pytest.mark.parametrize("client", ["AWS CLI 2", "AWS CLI 1", "botocore"])
@pytest.mark.parametrize("account", ["annotated", "associated"])
def test_todays_clients_get_credentials(cluster, account, client):
    command, environment = todays(client)
    done = cluster.inside(account, *where(command), **dict(zip(environment, where(environment.values()))))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(SESSIONS[account], json.loads(done.stdout)["Arn"])


@pytest.mark.parametrize("how", ["implicit", "explicit"])
@pytest.mark.parametrize("account", ["annotated", "associated"])
def test_the_javascript_sdk_gets_credentials(cluster, account, how):
    if fetched("aws-sdk-js") is None:
        pytest.skip("fetch_clients.py found no npm registry")
    chosen = how if how == "implicit" else {"annotated": "fromTokenFile", "associated": "fromHttp"}[account]
    done = cluster.inside(account, "/usr/bin/node", "-e", JAVASCRIPT, "--", chosen, NODE_PATH="/clients/aws-sdk-js/node_modules")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(SESSIONS[account], json.loads(done.stdout)["Arn"])


@pytest.mark.parametrize("command", [["/usr/bin/aws", *ASK], ["/usr/bin/python3", "-c", BOTO]], ids=["AWS CLI 2.9", "boto3 1.26"])
def test_clients_without_an_endpoint_setting_get_credentials_from_sts(cluster, command):
    with_proxy = dict(HTTPS_PROXY=cluster.endpoints["stsProxyForPods"])
    done = cluster.inside("annotated", *command, **with_proxy)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(SESSIONS["annotated"], json.loads(done.stdout)["Arn"])


def ask(cluster, name, script):
    """curl in the pod: the answer's status and body."""
    done = cluster.inside(name, "/usr/bin/sh", "-c", f"curl -sS --max-time 10 -w '\\n%{{http_code}}' {script}")
    assert done.returncode == 0, done.stderr
    body, _, code = done.stdout.rpartition("\n")
    return int(code), body


URL, TOKEN = "http://169.254.170.23/v1/credentials", "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"


def test_only_an_associated_pod_gets_them(cluster):
    code, body = ask(cluster, "associated", f'-H "Authorization: $(cat {TOKEN})" {URL}')
    assert code == 200 and json.loads(body).keys() == {"AccessKeyId", "SecretAccessKey", "Token", "AccountId", "Expiration"}
    assert ask(cluster, "neither", URL) == (400, "Service account token cannot be empty\n")
    own = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert "InvalidTokenException" in ask(cluster, "neither", f'-H "Authorization: $(cat {own})" {URL}')[1], "a token for somebody else"
    assert ask(cluster, "associated", f'-H "Authorization: $(cat {TOKEN})" -H "Host: rebound.example" {URL}')[0] == 403
    assert ask(cluster, "neither", URL.replace("/v1/credentials", "/"))[0] == 404


def test_two_on_one_machine_keep_their_pods_apart(cluster, tmp_path):
    with cluster_in(tmp_path, "111122223333") as other:
        other.serves("associated", "associated")
        there = json.loads(ask(other, "associated", f'-H "Authorization: $(cat {TOKEN})" {URL}')[1])
        here = json.loads(ask(cluster, "associated", f'-H "Authorization: $(cat {TOKEN})" {URL}')[1])
        assert (here["AccountId"], there["AccountId"]) == (ACCOUNT, "111122223333")
        foreign = other.inside("associated", "/usr/bin/sh", "-c", f"cat {TOKEN}").stdout
        assert "InvalidTokenException" in ask(cluster, "neither", f'-H "Authorization: {foreign}" {URL}')[1]
