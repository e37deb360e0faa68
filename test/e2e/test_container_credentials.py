"""Credentials for containers as EKS Pod Identity gives them, to clients that know nothing of podpass."""

import json
import os
import re
import urllib.error
import urllib.request

import pytest
from podpass import Podpass, eventually, fetched
from test_sts import ACCOUNT, BOTO, JAVASCRIPT, ROLE, Sts, run, todays

AUDIENCE = "pods.eks.amazonaws.com"
TRUST = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Service": AUDIENCE},
                                                "Action": ["sts:AssumeRole", "sts:TagSession"]}}


def association(name, account, role):
    return {"apiVersion": "identity.podpass.dev/v1", "kind": "PodIdentityAssociation", "metadata": {"name": name},
            "spec": {"serviceAccountName": account, "roleArn": ROLE + role}}


class Loopback(Sts):
    """A podpass that serves the endpoint on loopback; no containers are needed."""

    def __init__(self, podpass, directory):
        super().__init__(podpass, directory)
        self.endpoint = json.loads((podpass.data / "endpoints.json").read_text())["containerCredentials"]

    def pod_token(self, name, audience=AUDIENCE):
        made = self.call("GET", f"/api/v1/namespaces/default/pods/{name}").json
        reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": made["metadata"]["uid"]}
        answer = self.call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
                           {"spec": {"audiences": [audience], "boundObjectRef": reference}})
        assert answer.code == 201, answer
        return answer.json["status"]["token"]

    def ask(self, token=None, **headers):
        request = urllib.request.Request(self.endpoint, headers={**({"Authorization": token} if token else {}), **headers})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as failure:
            with failure:
                return failure.code, failure.read().decode()


@pytest.fixture(scope="module")
def sts(tmp_path_factory):
    with Podpass(tmp_path_factory.mktemp("pods"), "--node", "off", "--sts-connect-proxy", "127.0.0.1:0", "--container-credentials",
                 "127.0.0.1:0") as running:
        made = Loopback(running, tmp_path_factory.mktemp("pod"))
        eventually(lambda: made.call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the service account")
        made.kubectl("apply", "-f", "-", stdin=association("mine", "default", "reader"))
        spec = {"containers": [{"name": "c", "image": "nothing:1"}]}
        assert made.call("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec}).code == 201
        made.role("reader", TRUST)
        eventually(lambda: made.ask(made.pod_token("p"))[0] == 200, what="credentials")
        yield made


SESSION = rf"arn:aws:sts::{ACCOUNT}:assumed-role/reader/eks-podpass-p-[0-9a-f-]{{36}}"


@pytest.mark.parametrize("command", [["/usr/bin/aws", "sts", "get-caller-identity", "--output", "json"], ["/usr/bin/python3", "-c", BOTO]],
                         ids=["AWS CLI 2.9", "boto3 1.26"])
def test_clients_of_before_the_token_file_get_credentials(sts, command):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(sts.directory), "AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1",
                   "AWS_CONTAINER_CREDENTIALS_FULL_URI": sts.endpoint, "AWS_CONTAINER_AUTHORIZATION_TOKEN": sts.pod_token("p"),
                   "HTTPS_PROXY": sts.proxy, "AWS_CA_BUNDLE": sts.ca}
    done = run(command, environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(SESSION, json.loads(done.stdout)["Arn"])


@pytest.mark.parametrize("client", ["AWS CLI 2", "AWS CLI 1", "botocore"])
def test_todays_clients_read_the_token_file(sts, client):
    command, more = todays(client)
    token = sts.directory / "token-of-the-pod"
    token.write_text(sts.pod_token("p"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(sts.directory), "AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1",
                   "AWS_CONTAINER_CREDENTIALS_FULL_URI": sts.endpoint, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
                   "AWS_ENDPOINT_URL_STS": sts.url, "AWS_CA_BUNDLE": sts.ca, **more}
    done = run(command, environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(SESSION, json.loads(done.stdout)["Arn"])


@pytest.mark.parametrize("how", ["implicit", "fromHttp", "fromNodeProviderChain"])
def test_the_javascript_sdk_reads_the_token_file(sts, how):
    modules = fetched("aws-sdk-js")
    if modules is None:
        pytest.skip("fetch_clients.py found no npm registry")
    script, token = modules / "identity.js", sts.directory / "eks-pod-identity-token"
    script.write_text(JAVASCRIPT)
    token.write_text(sts.pod_token("p"))
    done = run(["node", str(script), how],
               {"PATH": os.environ["PATH"], "HOME": str(sts.directory), "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_STS": sts.url,
                "NODE_EXTRA_CA_CERTS": sts.ca, "AWS_CONTAINER_CREDENTIALS_FULL_URI": sts.endpoint,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(SESSION, json.loads(done.stdout)["Arn"])


def test_whoever_is_not_an_associated_pod_is_refused(sts):
    assert sts.ask() == (400, "Service account token cannot be empty\n")
    assert sts.ask("Bearer " + sts.pod_token("p"))[0] == 400
    assert sts.ask(sts.pod_token("p"), Host="rebound.example")[0] == 403
    for token in (sts.token(audience=AUDIENCE), sts.pod_token("p", "sts.amazonaws.com")):  # bound to no pod; for somebody else
        code, body = sts.ask(token)
        assert code == 400 and re.fullmatch(r"\[[0-9a-f-]{36}\]: \(InvalidTokenException\): .*, fault: client\n", body), body
    request = re.match(r"\[([0-9a-f-]+)\]", sts.ask(sts.token(audience=AUDIENCE))[1])[1]
    line = eventually(lambda: next((each for each in sts.log().splitlines() if request in each), None), what="the reason in the log")
    assert "not bound to a pod" in line


def test_credentials_end_with_association_and_pod(sts):
    token = sts.pod_token("p")
    sts.kubectl("delete", "pia", "mine")
    code, body = sts.ask(token)
    assert code == 404 and "(ResourceNotFoundException)" in body
    sts.kubectl("apply", "-f", "-", stdin=association("mine", "default", "reader"))
    assert sts.ask(token)[0] == 200
    spec = {"containers": [{"name": "c", "image": "nothing:1"}]}
    assert sts.call("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "brief"}, "spec": spec}).code == 201
    brief = sts.pod_token("brief")
    assert sts.ask(brief)[0] == 200
    sts.kubectl("delete", "pod", "brief", "--force", "--grace-period=0")
    assert "(InvalidTokenException)" in sts.ask(brief)[1]


def test_nothing_secret_is_logged(sts):
    token = sts.pod_token("p")
    made = json.loads(sts.ask(token)[1])
    for secret in (token, token.split(".")[2], made["SecretAccessKey"], made["Token"]):
        assert secret not in sts.log()
