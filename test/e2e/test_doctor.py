"""podpass doctor: each mistake of the IRSA failure catalogue made for real, the first broken link named, its mend done as printed, then green."""

import base64
import http.server
import json
import os
import re
import shlex
import subprocess
import threading
import time

import botocore.exceptions
import image
import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from podpass import Call, Credentials, Kubectl, Podpass, eventually
from test_sts import ACCOUNT, ROLE, Sts

PREFIX = "eks.amazonaws.com"
COMMAND_SECONDS = 90
TOKEN = re.compile(r"eyJ[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}")
OTHER = "arn:aws:iam::111122223333:oidc-provider/"
CHECKS = ["pod", "annotation", "role-arn", "webhook", "env", "static-keys", "mount", "token", "claims", "time", "issuer", "clock", "discovery", "jwks",
          "kid", "signature", "provider", "audience", "role", "trust-policy", "endpoint", "region", "identity"]


class Found:
    """What doctor said."""

    def __init__(self, done):
        self.code = done.returncode
        said = json.loads(done.stdout)
        self.good, self.broken, self.subject, self.role = said["good"], said["broken"], said["subject"], said["role"]
        self.checks = {each["id"]: each for each in said["checks"]}
        self.ids = [each["id"] for each in said["checks"]]

    @property
    def first(self):
        return self.checks[self.broken]

    def __repr__(self):
        return "\n".join(f"{each['finding']:8} {name:13} {each['found']} | {each.get('why', '')}" for name, each in self.checks.items())


class Ward:
    """A podpass, and in a namespace of its own a service account `cart` with the role of that name; pods of it are in good health."""

    def __init__(self, podpass, directory, namespace="default", sts=None):
        self.sts = sts or Sts(podpass, directory)
        self.call, self.kubectl = self.sts.call, self.sts.kubectl.within(namespace)
        self.namespace, self.directory = namespace, directory
        self.subject = f"system:serviceaccount:{namespace}:cart"
        self.role_name = f"cart-{namespace}"
        self.role = ROLE + self.role_name

    # ---- making things

    def post(self, path, body):
        answer = self.call("POST", path, body)
        assert answer.code == 201, answer
        return answer.json

    def account(self, name="cart", **annotations):
        keyed = {f"{PREFIX}/{key.replace('_', '-')}" if "/" not in key else key: value for key, value in annotations.items()}
        return self.post(f"/api/v1/namespaces/{self.namespace}/serviceaccounts", {"metadata": {"name": name, "annotations": keyed}})

    def policy(self, **changes):
        return self.sts.policy(**{"subject": self.subject, **changes})

    def trust(self, policy=None):
        self.sts.role(self.role_name, policy or self.policy())

    def manifest(self, name="app", account="cart", env=(), labels=None, annotations=None, **spec):
        container = {"name": "main", "image": "nothing:1", "env": list(env)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
                "spec": {"serviceAccountName": account, "containers": [container], **spec}}

    def pod(self, *arguments, **options):
        return self.post(f"/api/v1/namespaces/{self.namespace}/pods", self.manifest(*arguments, **options))

    def healthy(self):
        """Service account, role and pod, with nothing wrong."""
        self.trust()
        self.account(role_arn=self.role)
        return self.pod()

    # ---- what a client in the pod would hear

    def heard(self, name="app"):
        """None, or (code, message) of AssumeRoleWithWebIdentity with the pod's own environment and a token like the one on its disk."""
        made = self.call("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}").json
        container = made["spec"]["containers"][0]
        environment = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        mounts = {each["name"] for each in container["volumeMounts"]}
        source = next(source["serviceAccountToken"] for volume in made["spec"]["volumes"] if volume["name"] in mounts
                      for source in volume.get("projected", {}).get("sources", []) if source.get("serviceAccountToken", {}).get("audience"))
        token = self.token(made, source["audience"])
        try:
            self.sts.assume(environment["AWS_ROLE_ARN"], token)
        except botocore.exceptions.ParamValidationError as refusal:  # the client says it before the server can
            return "ValidationError", str(refusal)
        except botocore.exceptions.ClientError as refusal:
            return refusal.response["Error"]["Code"], refusal.response["Error"]["Message"]
        return None

    def token(self, pod, audience="sts.amazonaws.com"):
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        account = pod["spec"]["serviceAccountName"]
        return self.post(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token",
                         {"spec": {"audiences": [audience], "boundObjectRef": reference}})["status"]["token"]

    # ---- doctor

    def environment(self):
        return {**self.kubectl.environment(), "PATH": os.path.dirname(os.environ["PODPASS"]) + ":" + os.environ["PATH"]}

    def run(self, *arguments, kubeconfig=None):
        environment = self.environment()
        if kubeconfig:
            environment["KUBECONFIG"] = str(kubeconfig)
        done = subprocess.run([os.environ["PODPASS"], "doctor", *map(str, arguments)], capture_output=True, text=True, timeout=COMMAND_SECONDS,
                              check=False, env=environment, cwd=self.directory)
        assert not TOKEN.search(done.stdout + done.stderr), "doctor printed a token"
        return done

    def examine(self, *arguments, **options):
        done = self.run(*arguments, "-o", "json", **options)
        assert done.stdout, done.stderr
        found = Found(done)
        assert found.code == (0 if found.good else 1), done
        return found

    def doctor(self, name="app", *arguments):
        found = self.examine("pod", name, "-n", self.namespace, "--sts", self.sts.url, *arguments)
        assert [each for each in CHECKS if each in found.ids] == found.ids == CHECKS, found
        return found

    def mended(self, check):
        """Does what doctor printed, as it stands."""
        command = check["mend"]["command"]
        done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
                              env=self.environment(), cwd=self.directory)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def green(self, name="app"):
        found = eventually(lambda: (lambda got: got if got.good else None)(self.doctor(name)), what="a pod in good health")
        assert found.checks["identity"]["finding"] == "ok", found
        assert found.checks["identity"]["found"].endswith("/SESSION")
        assert eventually(lambda: self.heard(name) is None, what="credentials from STS")
        return found

    def diagnose(self, broken, *says, name="app"):
        """Doctor names this link first, with these words; the mend is done, and the pod is in good health."""
        found = self.doctor(name)
        assert found.broken == broken, found
        told = " ".join([found.first["found"], found.first["why"], found.first["mend"]["text"]])
        for words in says:
            assert words in told, f"{words!r} is not in {told!r}"
        text = self.run("pod", name, "-n", self.namespace, "--sts", self.sts.url)
        assert text.returncode == 1 and f"the first broken link: {broken}" in text.stdout and re.search(rf"^BROKEN   {broken}\b", text.stdout, re.M)
        self.mended(found.first)
        return self.green(name)


ENDPOINT = {"apiVersion": "identity.podpass.dev/v1", "kind": "TokenInjection", "metadata": {"name": "ward"}}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """One podpass for all, whose pods are told where STS is, but for those with the label `bare`."""
    with Podpass(tmp_path_factory.mktemp("doctor"), "--node", "off", "--sts-connect-proxy", "127.0.0.1:0") as running:
        directory = tmp_path_factory.mktemp("pod")
        sts = Sts(running, directory)
        env = [{"name": "AWS_ENDPOINT_URL_STS", "value": sts.url}, {"name": "AWS_REGION", "value": "eu-west-1"}, {"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"}]
        match = {"serviceAccountAnnotation": f"{PREFIX}/role-arn", "podSelector": {"matchExpressions": [{"key": "bare", "operator": "DoesNotExist"}]}}
        sts.kubectl("apply", "-f", "-", stdin={**ENDPOINT, "spec": {"profile": "AWSWebIdentity", "match": match, "env": env}})
        yield running, directory, sts


@pytest.fixture
def ward(hospital):
    running, directory, sts = hospital
    name = sts.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "ward-"}}).json["metadata"]["name"]
    eventually(lambda: sts.call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").code == 200, what="the service account")
    yield Ward(running, directory, name, sts)
    sts.call("DELETE", f"/api/v1/namespaces/{name}")
    sts.call("DELETE", f"/apis/iam.podpass.dev/v1/roles/cart-{name}")


def test_a_pod_in_good_health(ward):
    ward.healthy()
    found = ward.green()
    assert found.subject == f"pod {ward.namespace}/app" and found.role == ward.role
    assert {name for name, check in found.checks.items() if check["finding"] != "ok"} == {"token"}, found  # it does not run: no file to read
    assert "asked for as the kubelet does" in found.checks["token"]["why"]
    text = ward.run("pod", "app", "-n", ward.namespace)
    assert text.returncode == 0 and text.stdout.endswith("nothing is broken as far as could be seen\n")
    assert yaml.safe_load(ward.run("pod", "app", "-n", ward.namespace, "-o", "yaml").stdout)["good"] is True


# ---- 1: the pod is promised nothing

def test_1_the_annotation_is_on_the_pod(ward):
    ward.trust()
    ward.account()
    ward.pod(annotations={f"{PREFIX}/role-arn": ward.role})
    ward.diagnose("annotation", f"the pod has {PREFIX}/role-arn, but the webhook reads {PREFIX}/role-arn of the service account")


def test_1_the_annotation_has_another_prefix(ward):
    ward.trust()
    ward.account(**{"eks.example.com/role-arn": ward.role})
    ward.pod()
    ward.diagnose("annotation", "the service account has eks.example.com/role-arn, but the webhook reads eks.amazonaws.com/role-arn")


def test_1_the_pod_runs_as_another_service_account(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(account="default")
    ward.diagnose("annotation", "the pod runs as default; the service account cart has a role")


def test_1_nobody_annotated_anything(ward):
    ward.trust()
    ward.account()
    ward.pod()
    ward.diagnose("annotation", "has no annotation eks.amazonaws.com/role-arn", f"{ward.role} trusts it")


# ---- 2: the pod was not changed when it was created

def test_2_the_annotation_came_after_the_pod(ward):
    ward.trust()
    ward.account()
    created = ward.pod()["metadata"]["creationTimestamp"]
    eventually(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > created, what="the next second")
    ward.kubectl("annotate", "serviceaccount", "cart", f"{PREFIX}/role-arn={ward.role}")
    ward.diagnose("webhook", f"the pod was created at {created}, the service account annotated at", "not later")


def test_2_the_webhook_was_away(ward):
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pod-identity-webhook"
    hook = ward.call("GET", path).json["webhooks"][0]

    def lead(url):
        body = {"webhooks": [{**hook, "clientConfig": {**hook["clientConfig"], "url": url}}]}
        assert ward.call("PATCH", path, body, {"Content-Type": "application/merge-patch+json"}).code == 200

    ward.trust()
    ward.account(role_arn=ward.role)
    lead("https://127.0.0.1:1/mutate")
    try:
        ward.pod()
        found = ward.doctor()
        assert found.broken == "webhook" and "the webhook does not answer at https://127.0.0.1:1/mutate" in found.first["why"], found
        assert found.first["mend"]["text"].startswith("start the webhook")
    finally:
        lead(hook["clientConfig"]["url"])
    ward.diagnose("webhook", "was not asked, or did not answer, when the pod was created; it answers now")


def test_2_the_pod_opted_out(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(labels={f"{PREFIX}/skip-pod-identity-webhook": "true"})
    ward.diagnose("webhook", "the pod's label eks.amazonaws.com/skip-pod-identity-webhook keeps the webhook away")


# ---- 3: the provider

def providers(ward):
    return ward.call("GET", "/apis/iam.podpass.dev/v1/oidcproviders").json["items"]


def without_provider(ward):
    for each in providers(ward):
        if each["spec"]["url"].rstrip("/") == ward.sts.issuer:
            assert ward.call("DELETE", f"/apis/iam.podpass.dev/v1/oidcproviders/{each['metadata']['name']}").code == 200


def test_3_no_provider_is_registered(ward):
    ward.healthy()
    without_provider(ward)
    eventually(lambda: ward.heard() == ("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {ward.sts.issuer}"), what="AWS's sentence")
    ward.diagnose("provider", f'no provider has the url "{ward.sts.issuer}"')


def test_3_the_url_differs_by_a_slash(ward):
    ward.healthy()
    without_provider(ward)
    ward.post("/apis/iam.podpass.dev/v1/oidcproviders", {"metadata": {"name": f"slash-{ward.namespace}"},
                                                        "spec": {"url": ward.sts.issuer + "/", "clientIDs": ["sts.amazonaws.com"]}})
    ward.diagnose("provider", f'"{ward.sts.issuer}/" differs by scheme, case or the slash at the end')


# ---- 4: the audience

def test_4_the_audience_is_misspelt(ward):
    ward.trust()
    ward.account(role_arn=ward.role, audience="sts.amazon.com")
    ward.pod()
    assert ward.heard() == ("InvalidIdentityToken", "Incorrect token audience")
    ward.diagnose("audience", 'the token is for "sts.amazon.com", the provider takes "sts.amazonaws.com"')


def test_4_a_volume_by_hand_asks_for_another_audience(ward):
    ward.trust()
    ward.account()
    mount = "/var/run/mine"
    pod = ward.manifest(env=[{"name": "AWS_ROLE_ARN", "value": ward.role}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": mount + "/token"},
                             {"name": "AWS_ENDPOINT_URL_STS", "value": ward.sts.url}, {"name": "AWS_REGION", "value": "x"}, {"name": "AWS_DEFAULT_REGION", "value": "x"}],
                        volumes=[{"name": "mine", "projected": {"sources": [{"serviceAccountToken": {"audience": "api", "path": "token"}}]}}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "mine", "mountPath": mount}]
    ward.post(f"/api/v1/namespaces/{ward.namespace}/pods", pod)
    ward.diagnose("audience", 'the token is for "api"')


# ---- 5 to 8, 10: the trust policy; STS says the same of all of them

DENIED = ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")


def of_another_cluster(ward):
    statement = ward.policy()["Statement"][0]
    statement["Condition"] = {"StringEquals": {"oidc.example.com/id/OLD:sub": ward.subject, "oidc.example.com/id/OLD:aud": "sts.amazonaws.com"}}
    return {"Version": "2012-10-17", "Statement": [statement]}


TRUST = {
    "5 the key of another cluster": (of_another_cluster, ["the condition names oidc.example.com/id/OLD, this token comes from"]),
    "6 a misspelt namespace": (lambda ward: ward.policy(subject="system:serviceaccount:shop:cart"), ['expected "system:serviceaccount:shop:cart", found "system:serviceaccount:ward-']),
    "6 the plural": (lambda ward: ward.policy(subject=ward.subject.replace("account:", "accounts:")), ['expected "system:serviceaccounts:']),
    "7 a role of EKS Pod Identity": (lambda ward: ward.policy(Principal={"Service": "pods.eks.amazonaws.com"}, Action=["sts:AssumeRole", "sts:TagSession"]),
                                     ['allows the action "sts:AssumeRole" or "sts:TagSession"']),
    "7 AWS instead of Federated": (lambda ward: ward.policy(Principal={"AWS": ROLE + "nobody"}), ['trusts the principal "AWS arn:aws:iam::']),
    "7 a provider of another account": (lambda ward: ward.policy(Principal={"Federated": OTHER + ward.sts.issuer.removeprefix("https://")}),
                                        ['trusts the principal "Federated arn:aws:iam::111122223333:']),
    "8 a wildcard under StringEquals": (lambda ward: ward.policy(subject=f"system:serviceaccount:{ward.namespace}:*"), ["StringEquals takes * and ? literally: write StringLike"]),
    "10 another action": (lambda ward: ward.policy(Action="sts:AssumeRole"), ["add sts:AssumeRoleWithWebIdentity to the statement's Action"]),
}


@pytest.mark.parametrize("case", TRUST)
def test_the_trust_policy_refuses(ward, case):
    policy, says = TRUST[case]
    ward.trust(policy(ward))
    ward.account(role_arn=ward.role)
    ward.pod()
    assert ward.heard() == DENIED
    statements = ward.doctor().checks["trust-policy"]["detail"]["statements"]
    assert statements[0]["matches"] is False
    ward.diagnose("trust-policy", *says)


# ---- 9: the role

def test_9_the_roles_name_is_misspelt(ward):
    ward.trust()
    ward.account(role_arn=ward.role[:-1])
    ward.pod()
    assert ward.heard() == DENIED
    ward.diagnose("role", f"there is no role {ward.role[:-1]}; there is {ward.role}")


def test_9_the_path_is_missing(ward):
    ward.sts.role(ward.role_name, ward.policy(), path="/team/")
    ward.account(role_arn=ward.role)
    ward.pod()
    assert ward.heard() == DENIED
    ward.diagnose("role", f"there is {ROLE}team/{ward.role_name}")


def test_9_there_is_no_role(ward):
    ward.account(role_arn=ward.role)
    ward.pod()
    ward.diagnose("role", f"there is no role {ward.role}", "create the role")


def test_9_the_account_is_wrong(ward):
    ward.trust()
    ward.account(role_arn=ward.role.replace(ACCOUNT, "111122223333"))
    ward.pod()
    assert ward.heard()[0] == "InvalidIdentityToken"
    ward.diagnose("provider", f"the role is of the account 111122223333, where this provider is not registered: that is {ACCOUNT}")


# ---- an issuer of its own: what podpass's own cannot be made to do

class Issuer:
    """Discovery and JWKS on loopback; tokens as it likes."""

    def __init__(self):
        self.key, self.published = ec.generate_private_key(ec.SECP256R1()), {}
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                documents = {"/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"}, "/keys": {"keys": list(issuer.published.values())}}
                body = json.dumps(documents.get(self.path, {})).encode()
                self.send_response(200 if self.path in documents else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, kid):
        number = self.key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(each.to_bytes(32, "big")).rstrip(b"=").decode() for each in (number.x, number.y))
        self.published = {kid: {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y}}

    def sign(self, kid, **claims):
        now = int(time.time())
        return jwt.encode({"iss": self.url, "aud": "sts.amazonaws.com", "iat": now - 60, "exp": now + 600, **claims}, self.key, algorithm="ES256", headers={"kid": kid})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer(ward):
    """Registered, and trusted by the ward's role beside podpass's own."""
    with Issuer() as made:
        made.publish("k")
        ward.post("/apis/iam.podpass.dev/v1/oidcproviders", {"metadata": {"name": ward.namespace}, "spec": {"url": made.url, "clientIDs": ["sts.amazonaws.com"]}})
        theirs = {"Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{made.url.removeprefix('http://')}"},
                  "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {made.url.removeprefix("http://") + ":sub": ward.subject}}}
        ward.trust({"Version": "2012-10-17", "Statement": [*ward.policy()["Statement"], theirs]})
        ward.account(role_arn=ward.role)
        yield made
        ward.call("DELETE", f"/apis/iam.podpass.dev/v1/oidcproviders/{ward.namespace}")


def refusal(ward, token):
    try:
        ward.sts.assume(ward.role, token)
    except botocore.exceptions.ClientError as refused:
        return refused.response["Error"]
    return None


def token_file(ward, token):
    path = ward.directory / f"token-{os.urandom(4).hex()}"
    path.write_text(token)
    return path


def diagnose_token(ward, token, broken, *says):
    file = token_file(ward, token)
    found = ward.examine("token", file, "--role", ward.role)
    assert found.broken == broken, found
    for words in says:
        assert words in found.first["why"], found
    ward.mended(found.first)
    found = eventually(lambda: (lambda got: got if got.good else None)(ward.examine("token", file, "--role", ward.role)), what="a good token")
    assert found.checks["identity"]["finding"] == "ok", found
    eventually(lambda: refusal(ward, file.read_text()) is None, what="credentials from STS")


def test_a_good_token(ward, issuer):
    file = token_file(ward, issuer.sign("k", sub=ward.subject))
    found = ward.examine("token", file, "--role", ward.role)
    assert found.good and found.ids == ["role-arn", *CHECKS[CHECKS.index("claims"):CHECKS.index("endpoint")], "identity"], found
    assert {check["finding"] for check in found.checks.values()} == {"ok"}, found
    text = ward.run("token", file, "--role", ward.role)
    assert text.returncode == 0 and text.stdout.endswith("every link holds\n")


def test_10_tags_in_the_token_need_an_action_of_their_own(ward, issuer):
    tags = {"https://aws.amazon.com/tags": {"principal_tags": {"team": ["a"]}}}
    token = issuer.sign("k", sub=ward.subject, **tags)
    assert refusal(ward, token)["Code"] == "AccessDenied"
    diagnose_token(ward, token, "trust-policy", '"sts:TagSession"')


def test_11_the_token_was_read_once_and_kept(ward, issuer):
    token = issuer.sign("k", sub=ward.subject, exp=int(time.time()) - 1)
    assert refusal(ward, token)["Code"] == "ExpiredTokenException"
    diagnose_token(ward, token, "time", "the token has expired")


def test_12_the_key_is_published_no_more(ward, issuer):
    token = issuer.sign("gone", sub=ward.subject)
    assert refusal(ward, token)["Message"].startswith("Couldn't retrieve verification key from your identity provider,  please reference")
    diagnose_token(ward, token, "kid", 'the issuer publishes no key for kid "gone"')


def test_11_a_sub_path_is_never_renewed(ward):
    ward.trust()
    ward.account()
    pod = ward.manifest(env=[{"name": "AWS_ROLE_ARN", "value": ward.role}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/mine/token"},
                             {"name": "AWS_ENDPOINT_URL_STS", "value": ward.sts.url}, {"name": "AWS_REGION", "value": "x"}, {"name": "AWS_DEFAULT_REGION", "value": "x"}],
                        volumes=[{"name": "mine", "projected": {"sources": [{"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}]}}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "mine", "mountPath": "/var/run/mine/token", "subPath": "token"}]
    ward.post(f"/api/v1/namespaces/{ward.namespace}/pods", pod)
    ward.diagnose("mount", "by subPath", "is never renewed")


# ---- 12 and 13: the issuer's documents

def test_12_the_documents_are_not_public(tmp_path_factory):
    with Podpass(tmp_path_factory.mktemp("closed"), "--node", "off", "--sts-connect-proxy", "127.0.0.1:0", "--no-anonymous-issuer-discovery") as running:
        ward = Ward(running, tmp_path_factory.mktemp("pod"))
        eventually(lambda: ward.call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the service account")
        env = [{"name": "AWS_ENDPOINT_URL_STS", "value": ward.sts.url}, {"name": "AWS_REGION", "value": "x"}, {"name": "AWS_DEFAULT_REGION", "value": "x"}]
        ward.trust()
        ward.account(role_arn=ward.role)
        ward.pod(env=env)
        assert ward.heard()[1].startswith("Couldn't retrieve verification key")
        found = ward.doctor()
        assert found.broken == "discovery" and "status 40" in found.first["why"], found
        ward.mended(found.first)
        eventually(lambda: ward.doctor().good, what="documents that can be read")
        eventually(lambda: ward.heard() is None, seconds=30, what="credentials once the STS asks the issuer again")


def test_13_the_certificate_does_not_match_the_thumbprint(ward):
    ward.healthy()
    ward.green()
    provider = next(each for each in providers(ward) if each["spec"]["url"] == ward.sts.issuer)
    path = f"/apis/iam.podpass.dev/v1/oidcproviders/{provider['metadata']['name']}"
    change = {"spec": {"caBundle": None, "thumbprints": ["0" * 40]}}
    assert ward.call("PATCH", path, change, {"Content-Type": "application/merge-patch+json"}).code == 200
    try:
        eventually(lambda: ward.heard() == ("InvalidIdentityToken", "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint"), what="AWS's sentence")
        ward.diagnose("issuer", "was not accepted", "trust it by the thumbprint of its topmost certificate")
    finally:
        back = {"spec": {"caBundle": provider["spec"].get("caBundle"), "thumbprints": None}}
        ward.call("PATCH", path, back, {"Content-Type": "application/merge-patch+json"})


# ---- 14: the ARN

@pytest.mark.parametrize("wrong", ["{name}", '"{role}"', "arn:aws:iam::" + ACCOUNT + ":instance-profile/{name}", " {role}"])
def test_14_the_annotation_is_no_role_arn(ward, wrong):
    ward.trust()
    ward.account(role_arn=wrong.format(name=ward.role_name, role=ward.role))
    ward.pod()
    assert ward.heard()[0] == "ValidationError"
    ward.diagnose("role-arn", "that is not the ARN of a role")


# ---- 16 to 19, 21, 22: the pod's own spec

def test_16_the_variables_were_set_by_hand(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(env=[{"name": "AWS_ROLE_ARN", "value": ward.role}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/mine/token"}])
    ward.diagnose("mount", "nothing is mounted at /var/run/mine/token", "it was set by hand")


def test_16_a_container_that_is_skipped_has_the_variables(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    path = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
    ward.pod(annotations={f"{PREFIX}/skip-containers": "main"}, env=[{"name": "AWS_ROLE_ARN", "value": ward.role}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": path}])
    found = ward.doctor()
    assert found.broken == "mount" and "asked the webhook to leave it alone" in found.first["why"], found
    ward.mended(found.first)
    found = ward.doctor()
    assert found.good and found.checks["env"]["why"] == "every container asked to be left alone", found


def endpoint(ward):
    return {"name": "AWS_ENDPOINT_URL_STS", "value": ward.sts.url}


@pytest.mark.parametrize("given, says", [([], "Region is missing"), (["AWS_REGION"], "boto3 and CLI v1 read AWS_DEFAULT_REGION only"),
                                         (["AWS_DEFAULT_REGION"], "the JavaScript SDK reads AWS_REGION only")])
def test_17_a_region_is_missing(ward, given, says):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(labels={"bare": "yes"}, env=[endpoint(ward), *({"name": name, "value": "eu-west-1"} for name in given)])
    ward.diagnose("region", says)


def test_18_static_keys_come_first(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(env=[{"name": "AWS_ACCESS_KEY_ID", "value": "AKIAEXAMPLE"}, {"name": "AWS_SECRET_ACCESS_KEY", "value": "hidden-from-doctor"}])
    assert "hidden-from-doctor" not in ward.run("pod", "app", "-n", ward.namespace).stdout
    ward.diagnose("static-keys", "container main has AWS_ACCESS_KEY_ID", "without any error")


def test_18_static_keys_come_from_a_secret(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.kubectl("create", "secret", "generic", "keys", "--from-literal=AWS_ACCESS_KEY_ID=a", "--from-literal=AWS_SECRET_ACCESS_KEY=hidden-from-doctor")
    pod = ward.manifest()
    pod["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "keys"}}]
    ward.post(f"/api/v1/namespaces/{ward.namespace}/pods", pod)
    assert "hidden-from-doctor" not in ward.run("pod", "app", "-n", ward.namespace).stdout
    ward.diagnose("static-keys", 'AWS_ACCESS_KEY_ID of secrets "keys" by envFrom')


REGIONS = [{"name": "AWS_REGION", "value": "eu-west-1"}, {"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"}]


def test_19_the_global_endpoint_is_asked(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(labels={"bare": "yes"}, env=[*REGIONS, {"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "legacy"}])
    found = ward.doctor()
    assert found.broken == "endpoint" and "which VPC endpoints do not serve" in found.first["why"], found
    ward.mended(found.first)
    found = ward.doctor()  # at AWS that is all; here STS is elsewhere
    assert found.broken == "endpoint" and "which knows nothing of this cluster" in found.first["why"], found


def test_19_the_pod_is_not_told_where_our_sts_is(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(labels={"bare": "yes"}, env=REGIONS)
    try:
        ward.diagnose("endpoint", "the SDKs ask AWS at https://sts.amazonaws.com")
    finally:
        ward.call("DELETE", "/apis/identity.podpass.dev/v1/tokeninjections/sts-endpoint")


def test_20_the_role_lacks_a_permission(ward):
    """The one service that podpass has besides is STS itself: the identity may not assume a role that does not trust it."""
    ward.healthy()
    found = ward.green()
    assert "means the permissions of the role, not its trust" in found.checks["identity"]["why"]
    ward.sts.role("other-" + ward.namespace, {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": ROLE + "nobody"}, "Action": "sts:AssumeRole"}})
    pod = ward.call("GET", f"/api/v1/namespaces/{ward.namespace}/pods/app").json
    session = ward.sts.as_session(ward.sts.assume(ward.role, ward.token(pod)))
    with pytest.raises(botocore.exceptions.ClientError, match=f"assumed-role/{ward.role_name}/test-session is not authorized to perform: sts:AssumeRole"):
        session.assume_role(RoleArn=ROLE + "other-" + ward.namespace, RoleSessionName="next")
    assert ward.doctor().good


@pytest.mark.parametrize("name, value", [("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")])
def test_21_one_of_the_pair_is_set(ward, name, value):
    ward.trust()
    ward.account(role_arn=ward.role)
    ward.pod(env=[{"name": name, "value": value}])
    ward.diagnose("env", f"container main has {name} and no ", "one of the pair keeps the webhook from giving the other")


def test_22_another_mount_is_where_the_token_goes(ward):
    ward.trust()
    ward.account(role_arn=ward.role)
    pod = ward.manifest(volumes=[{"name": "own", "emptyDir": {}}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "own", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount"}]
    refused = ward.call("POST", f"/api/v1/namespaces/{ward.namespace}/pods", pod)
    assert refused.code == 422 and "must be unique" in refused.json["message"], refused
    file = ward.directory / f"pod-{ward.namespace}.yaml"
    file.write_text(yaml.safe_dump(pod))
    found = ward.examine("pod", "-f", file, "-n", ward.namespace)
    assert found.broken == "mount" and 'mounts "own" at /var/run/secrets/eks.amazonaws.com/serviceaccount' in found.first["found"], found
    assert "mountPath must be unique" in found.first["why"]
    ward.mended(found.first)
    ward.green()


# ---- what a kubelet has to do with it

@pytest.fixture(scope="module")
def clinic(node_server, node_call, node_namespace, tmp_path_factory):
    """The same on a podpass that runs containers."""
    directory = tmp_path_factory.mktemp("clinic")
    sts = Sts.__new__(Sts)
    sts.directory, sts.call, sts.kubectl = directory, node_call, Kubectl(node_server.kubeconfig, directory)
    endpoints = json.loads((node_server.data / "endpoints.json").read_text())
    sts.issuer, sts.url, sts.ca = node_server.issuer, endpoints["sts"], str(node_server.data / "ca.crt")
    sts.provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{sts.issuer.removeprefix('https://')}"
    ward = Ward(node_server, directory, node_namespace, sts)
    ward.trust()
    ward.account(role_arn=ward.role)
    return ward


def running(ward, pod):
    name = pod["metadata"]["name"]
    pod["spec"].update(restartPolicy="Never", terminationGracePeriodSeconds=1)
    for container in pod["spec"]["containers"]:
        container.update(image=image.NAME, command=["sleep", "600"])
        container["env"] = [*container.get("env", []), endpoint(ward), *REGIONS]
    ward.post(f"/api/v1/namespaces/{ward.namespace}/pods", pod)
    runs(ward, name)


def runs(ward, name):
    eventually(lambda: ward.call("GET", f"/api/v1/namespaces/{ward.namespace}/pods/{name}").json.get("status", {}).get("phase") == "Running", seconds=60, what="a running pod")


def test_the_token_on_disk_is_read_from_the_container(clinic):
    running(clinic, clinic.manifest("reads"))
    found = clinic.green("reads")
    assert found.checks["token"] == {"id": "token", "finding": "ok",
                                     "found": "read from /var/run/secrets/eks.amazonaws.com/serviceaccount/token in container main"}, found
    assert clinic.run("pod", "reads", "-n", clinic.namespace).stdout.endswith("every link holds\n")


def test_15_the_containers_user_may_not_read_the_file(clinic):
    hand = [{"name": "AWS_ROLE_ARN", "value": clinic.role}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/mine/token"}]
    source = {"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}
    pod = clinic.manifest("denied", env=hand, volumes=[{"name": "mine", "projected": {"defaultMode": 0o400, "sources": [source]}}])
    main = {**pod["spec"]["containers"][0], "securityContext": {"runAsUser": 1000}, "volumeMounts": [{"name": "mine", "mountPath": "/var/run/mine"}]}
    pod["spec"]["containers"] = [main, {"name": "other", "securityContext": {"runAsUser": 2000}}]
    running(clinic, pod)
    read = clinic.kubectl.run("exec", "denied", "-c", "main", "--", "cat", "/var/run/mine/token")
    assert read.returncode != 0 and "Permission denied" in read.stderr
    found = clinic.doctor("denied", "-c", "main")
    assert found.broken == "mount" and "no fsGroup lets them read the token: Permission denied" in found.first["why"], found
    assert "fsGroup" in found.first["mend"]["command"]
    clinic.mended(found.first)
    runs(clinic, "denied")
    found = eventually(lambda: (lambda got: got if got.good else None)(clinic.doctor("denied", "-c", "main")), what="a pod in good health")
    assert found.checks["token"]["finding"] == "ok", found


def test_15_the_file_says_so_when_the_spec_does_not(clinic):
    """The image's own user is not in the pod's spec: only the container can tell."""
    pod = clinic.manifest("moved")
    running(clinic, pod)
    clinic.kubectl("exec", "moved", "--", "rm", "/bin/cat")
    found = clinic.doctor("moved")
    assert found.good and "the image has no cat" in found.checks["token"]["why"] and found.checks["signature"]["finding"] == "ok", found


# ---- EKS Pod Identity

def test_container_credentials_are_understood(ward):
    ward.account()
    ward.sts.role(ward.role_name, {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
    ward.kubectl("apply", "-f", "-", stdin={"apiVersion": "identity.podpass.dev/v1", "kind": "PodIdentityAssociation", "metadata": {"name": "cart"},
                                            "spec": {"serviceAccountName": "cart", "roleArn": ward.role[:-1]}})

    def given():
        ward.call("DELETE", f"/api/v1/namespaces/{ward.namespace}/pods/app")
        return "eks-pod-identity-token" in json.dumps(ward.pod(env=REGIONS))

    eventually(given, what="a pod that the association has reached")
    found = ward.doctor()
    assert found.broken == "role" and f"there is {ward.role}" in found.first["why"], found
    ward.mended(found.first)
    found = ward.doctor()
    assert found.broken == "trust-policy" and "sts:TagSession" in found.first["why"], found
    ward.mended(found.first)
    found = ward.doctor()
    assert found.good and found.checks["identity"]["finding"] == "ok", found
    assert found.checks["signature"]["found"] == f"the cluster knows the token as {ward.subject}"
    assert found.checks["discovery"]["finding"] == "skipped" and "podpass answers there in the pods of its own containerd" in found.checks["endpoint"]["why"]


# ---- roles and providers at AWS, told by files

def test_policies_of_aws_come_from_files(ward):
    ward.account(role_arn=ward.role)
    ward.pod()
    file = ward.directory / f"role-{ward.namespace}.json"

    def at_aws(policy, provider=ward.sts.issuer):
        file.write_text(json.dumps({"Role": {"Arn": ward.role, "RoleName": ward.role_name, "AssumeRolePolicyDocument": policy}}))
        return ward.doctor("app", "--trust-policy", file, "--provider-url", provider, "--client-id", "sts.amazonaws.com")

    found = at_aws(ward.policy(subject=f"system:serviceaccount:{ward.namespace}:*"))
    assert found.checks["issuer"]["finding"] == "broken", "AWS reaches no loopback"
    trust = found.checks["trust-policy"]
    assert trust["finding"] == "broken" and found.checks["provider"]["finding"] == "ok", found
    words = shlex.split(trust["mend"]["command"])
    assert words[:5] == ["aws", "iam", "update-assume-role-policy", "--role-name", ward.role_name]
    assert at_aws(json.loads(words[words.index("--policy-document") + 1])).checks["trust-policy"]["finding"] == "ok"
    assert shlex.split(at_aws(ward.policy(), "https://other.example").checks["provider"]["mend"]["command"])[:3] == ["aws", "iam", "create-open-id-connect-provider"]
    only = ward.doctor("app", "--provider-url", ward.sts.issuer)
    assert only.checks["role"]["finding"] == "unknown" and "give --trust-policy" in only.checks["role"]["mend"]["text"], only
    token = token_file(ward, ward.token(ward.call("GET", f"/api/v1/namespaces/{ward.namespace}/pods/app").json))
    file.write_text(json.dumps(ward.policy()))
    offline = ward.examine("token", token, "--role", ward.role, "--trust-policy", file, "--provider-url", ward.sts.issuer, "--issuer-ca", ward.sts.ca, kubeconfig="/nowhere")
    assert offline.checks["signature"]["finding"] == "ok" and offline.checks["trust-policy"]["finding"] == "ok", offline


# ---- what doctor may not, or cannot, look at

def kubeconfig_of(ward, account):
    token = ward.post(f"/api/v1/namespaces/{ward.namespace}/serviceaccounts/{account}/token", {"spec": {}})["status"]["token"]
    config = yaml.safe_load(ward.sts.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = ward.directory / f"kubeconfig-{ward.namespace}"
    path.write_text(yaml.safe_dump(config))
    return path


def test_what_may_not_be_read_is_unknown_and_says_what_to_ask_for(ward):
    ward.healthy()
    ward.account("looker")
    mine = kubeconfig_of(ward, "looker")
    refused = ward.run("pod", "app", "-n", ward.namespace, kubeconfig=mine)
    assert refused.returncode == 1 and "ask whoever administers the cluster for the right to get pods" in refused.stderr
    ward.kubectl("create", "role", "look", "--verb=get", "--resource=pods")
    ward.kubectl("create", "rolebinding", "look", "--role=look", f"--serviceaccount={ward.namespace}:looker")
    found = eventually(lambda: ward.examine("pod", "app", "-n", ward.namespace, "--sts", ward.sts.url, kubeconfig=mine), what="an answer")
    assert found.good and found.ids == CHECKS, found
    for check, right in (("annotation", "get serviceaccounts in"), ("token", "get and create pods/exec, or to create serviceaccounts/token")):
        assert found.checks[check]["finding"] == "unknown" and right in found.checks[check]["mend"]["text"], found
    assert found.checks["mount"]["finding"] == "ok" and found.checks["identity"]["finding"] == "skipped"
    token = token_file(ward, ward.token(ward.call("GET", f"/api/v1/namespaces/{ward.namespace}/pods/app").json))
    found = ward.examine("token", token, "--role", ward.role, kubeconfig=mine)
    assert found.good and found.checks["signature"]["finding"] == "ok", found
    assert found.checks["provider"]["mend"]["text"] == "ask whoever administers the cluster for the right to list oidcproviders.iam.podpass.dev"


def test_a_pod_that_is_not_there(ward):
    found = ward.doctor("nobody")
    assert found.broken == "pod" and found.code == 1 and "doctor pod -f FILE" in found.first["mend"]["text"]
    assert {check["finding"] for name, check in found.checks.items() if name != "pod"} == {"skipped"}


def test_an_api_server_that_is_away(ward):
    away = ward.directory / "away"
    away.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", ward.sts.kubeconfig.read_text()))
    token = token_file(ward, "x.y.z")
    for arguments in (["pod", "app"], ["token", token, "--role", ward.role]):
        done = ward.run(*arguments, kubeconfig=away)
        assert done.returncode == 1 and "does not answer" in done.stderr and not done.stdout, done


@pytest.mark.parametrize("arguments, code, says", [
    (["pod"], 2, "a pod's name, or -f FILE"), (["pod", "a", "-f", "b"], 2, "excludes"), (["pod", "a", "-o", "xml"], 2, "xml"), (["token", "x"], 2, "--role"),
    (["pod", "-f", "/no/such/file"], 1, "/no/such/file"), (["token", "/no/such/file", "--role", ROLE + "x"], 1, "/no/such/file"),
    (["pod", "-f", "/dev/null"], 1, "is not the manifest of a Pod"), (["token", "/dev/null", "--role", ROLE + "x"], 1, "there is no token"),
    (["pod", "a", "--trust-policy", "/dev/null"], 1, "is no JSON")])
def test_usage(ward, arguments, code, says):
    if arguments[:2] == ["pod", "a"] and "--trust-policy" in arguments:
        ward.healthy()
        arguments = ["pod", "app", "-n", ward.namespace, *arguments[2:]]
    done = ward.run(*arguments)
    assert done.returncode == code and says in done.stderr, done


def test_what_is_no_token_is_broken_at_once(ward):
    for text in ("x.y.z", "a" * 200_000, "\x1b[31m.\x00."):
        found = ward.examine("token", token_file(ward, text), "--role", ward.role)
        assert found.broken == "claims"


def test_strangers_texts_do_not_reach_the_terminal(ward, issuer):
    token = issuer.sign("\x1b[31m", sub="\x1b]0;title\x07 $(id)")
    done = ward.run("token", token_file(ward, token), "--role", ward.role)
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout and done.returncode == 1


def test_help_and_completion(ward):
    for verb in ("pod", "token"):
        assert "--trust-policy" in ward.run(verb, "--help").stdout
    completion = subprocess.run([os.environ["PODPASS"], "completion", "bash"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert '"doctor pod") words=' in completion and "--provider-url" in completion
