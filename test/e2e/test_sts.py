"""STS as AWS's own clients see it: AWS CLI 2.9 and boto3 1.26 of Debian, the JavaScript SDK v3; with nothing but the injected environment."""

import copy
import json
import os
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from podpass import Call, Credentials, Kubectl, Lines, Podpass, eventually, fetched

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
COMMAND_SECONDS = 90


class Sts:
    """A podpass with a CONNECT proxy, and what a pod of the service account default/default would be given."""

    def __init__(self, podpass, directory):
        self.directory = directory
        self.call = Call(podpass.url, Credentials(podpass.kubeconfig, directory))
        self.kubectl = Kubectl(podpass.kubeconfig, directory)
        self.issuer, self.kubeconfig = podpass.issuer, podpass.kubeconfig
        self.ca = str(podpass.data / "ca.crt")
        endpoints = json.loads((podpass.data / "endpoints.json").read_text())
        self.url, self.proxy = endpoints["sts"], endpoints["stsProxy"]
        self.admin_file = podpass.data / "aws-credentials"
        self.log = podpass.log
        self.provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{self.issuer.removeprefix('https://')}"

    def token(self, account="default", audience="sts.amazonaws.com"):
        answer = self.call("POST", f"/api/v1/namespaces/default/serviceaccounts/{account}/token",
                           {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience]}})
        assert answer.code == 201, answer
        return answer.json["status"]["token"]

    def policy(self, subject="system:serviceaccount:default:default", operator="StringEquals", **changes):
        prefix = self.issuer.removeprefix("https://")
        statement = {"Effect": "Allow", "Principal": {"Federated": self.provider}, "Action": "sts:AssumeRoleWithWebIdentity",
                     "Condition": {operator: {f"{prefix}:sub": subject, f"{prefix}:aud": "sts.amazonaws.com"}}}
        return {"Version": "2012-10-17", "Statement": [{**statement, **changes}]}

    def role(self, name, policy, **spec):
        """Creates the role, and waits until its ARN stands in its status: then the STS has it, or soon will."""
        body = {"apiVersion": "iam.podpass.dev/v1", "kind": "Role", "metadata": {"name": name}, "spec": {"trustPolicy": policy, **spec}}
        answer = self.call("POST", "/apis/iam.podpass.dev/v1/roles", body)
        assert answer.code == 201, answer
        return eventually(lambda: self.call("GET", f"/apis/iam.podpass.dev/v1/roles/{name}").json.get("status", {}).get("arn"), what="an ARN")

    def pod_environment(self, role, token, **more):
        """What the webhook injects, and no more of ours than PATH and a HOME without profiles."""
        path = self.directory / f"token-{os.urandom(4).hex()}"
        path.write_text(token)
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(path),
                "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_STS_REGIONAL_ENDPOINTS": "regional", **more}

    def client(self, key=None, secret=None, session=None):
        config = botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=20, read_timeout=20)
        return boto3.session.Session().client("sts", endpoint_url=self.url, region_name="eu-west-1", verify=self.ca, config=config,
                                              aws_access_key_id=key or "none", aws_secret_access_key=secret or "none",
                                              aws_session_token=session)

    def assume(self, role, token, session="test-session", **more):
        return self.client().assume_role_with_web_identity(RoleArn=role, RoleSessionName=session, WebIdentityToken=token, **more)

    def as_session(self, answer):
        made = answer["Credentials"]
        return self.client(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def event(self, request):
        answer = self.call("GET", f"/api/v1/namespaces/default/events/sts.{request}")
        return answer.json if answer.code == 200 else None

    def as_admin(self):
        text = self.admin_file.read_text()
        return self.client(re.search(r"access_key_id = (\S+)", text)[1], re.search(r"secret_access_key = (\S+)", text)[1])


@pytest.fixture(scope="module")
def sts(tmp_path_factory):
    with Podpass(tmp_path_factory.mktemp("sts"), "--node", "off", "--sts-connect-proxy", "127.0.0.1:0") as running:
        made = Sts(running, tmp_path_factory.mktemp("pod"))
        eventually(lambda: made.call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the service account")
        made.role("reader", made.policy())
        yield made


def refused(sts, role, token, **more):
    """(code, message, request id, x-podpass-reason) of an AssumeRoleWithWebIdentity that must fail."""
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        sts.assume(role, token, **more)
    answer = failure.value.response
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-requestid"] == answer["ResponseMetadata"]["RequestId"]
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["RequestId"], headers.get("x-podpass-reason")


def run(command, environment):
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, cwd="/")


# ---- clients in a pod's environment

BOTO = "import boto3, json; print(json.dumps(boto3.client('sts').get_caller_identity()))"


@pytest.mark.parametrize("command", [["/usr/bin/aws", "sts", "get-caller-identity", "--output", "json"], ["/usr/bin/python3", "-c", BOTO]],
                         ids=["AWS CLI 2.9", "boto3 1.26"])
def test_clients_without_an_endpoint_setting_reach_us_through_the_proxy(sts, command):
    environment = sts.pod_environment(ROLE + "reader", sts.token(), HTTPS_PROXY=sts.proxy, AWS_CA_BUNDLE=sts.ca)
    done = run(command, environment)
    assert done.returncode == 0, done.stderr
    identity = json.loads(done.stdout)
    assert identity["Account"] == ACCOUNT
    assert re.fullmatch(rf"arn:aws:sts::{ACCOUNT}:assumed-role/reader/botocore-session-\d+", identity["Arn"])
    assert re.fullmatch(r"AROA[A-Z2-7]{17}:botocore-session-\d+", identity["UserId"])


def test_the_cli_shows_awss_sentence_to_the_wrong_service_account(sts):
    sts.role("other", sts.policy("system:serviceaccount:default:other"))
    environment = sts.pod_environment(ROLE + "other", sts.token(), HTTPS_PROXY=sts.proxy, AWS_CA_BUNDLE=sts.ca)
    done = run(["/usr/bin/aws", "sts", "get-caller-identity"], environment)
    assert done.returncode == 254
    assert ("An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: "
            "Not authorized to perform sts:AssumeRoleWithWebIdentity") in done.stderr


BOTOCORE = """
import awscli.botocore.session, json
print(json.dumps(awscli.botocore.session.Session().create_client('sts').get_caller_identity()))
"""


def todays(client):
    """A client that Debian does not have, as command and environment: it asks who it is."""
    folder = fetched("aws-cli-2" if client == "AWS CLI 2" else "aws-cli-1")
    if folder is None:
        pytest.skip("fetch_clients.py found no npm registry")
    ask = ["sts", "get-caller-identity", "--output", "json"]
    return {"AWS CLI 2": ([str(folder / "aws"), *ask], {}),
            "AWS CLI 1": (["/usr/bin/python3", str(folder / "aws"), *ask], {}),
            "botocore": (["/usr/bin/python3", "-c", BOTOCORE], {"PYTHONPATH": str(folder)})}[client]


@pytest.mark.parametrize("client", ["AWS CLI 2", "AWS CLI 1", "botocore"])
@pytest.mark.parametrize("setting", ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"])
def test_todays_clients_need_only_an_endpoint(sts, client, setting):
    command, more = todays(client)
    done = run(command, sts.pod_environment(ROLE + "reader", sts.token(), AWS_CA_BUNDLE=sts.ca, **{setting: sts.url}, **more))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"arn:aws:sts::{ACCOUNT}:assumed-role/reader/botocore-session-\d+", json.loads(done.stdout)["Arn"])


JAVASCRIPT = """
const {STSClient, GetCallerIdentityCommand} = require("@aws-sdk/client-sts");
const providers = require("@aws-sdk/credential-providers");
const named = process.argv.at(-1);
const credentials = named === "implicit" ? undefined : providers[named]();
new STSClient({credentials}).send(new GetCallerIdentityCommand({}))
  .then((answer) => console.log(JSON.stringify({Arn: answer.Arn})))
  .catch((error) => { console.log(JSON.stringify({name: error.name, message: error.message})); process.exit(1); });
"""


@pytest.mark.parametrize("how", ["implicit", "fromTokenFile", "fromNodeProviderChain"])
def test_the_javascript_sdk_needs_only_an_endpoint(sts, how):
    modules = fetched("aws-sdk-js")
    if modules is None:
        pytest.skip("fetch_clients.py found no npm registry")
    script = modules / "identity.js"
    script.write_text(JAVASCRIPT)
    environment = sts.pod_environment(ROLE + "reader", sts.token(), AWS_ENDPOINT_URL_STS=sts.url, NODE_EXTRA_CA_CERTS=sts.ca)
    environment["PATH"] = os.environ["PATH"]
    done = run(["node", str(script), how], environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(rf"arn:aws:sts::{ACCOUNT}:assumed-role/reader/aws-sdk-js-session-\d+", json.loads(done.stdout)["Arn"])


def test_the_proxy_leads_to_sts_and_nowhere_else(sts):
    host, port = sts.proxy.removeprefix("http://").split(":")

    def connect(line):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return connection.recv(4096).decode().split("\r\n")[0]

    assert connect("CONNECT sts.us-east-1.amazonaws.com:443") == "HTTP/1.1 200 Connection established"
    for target in ("s3.amazonaws.com:443", "sts.amazonaws.com:80", "127.0.0.1:443", "sts.amazonaws.com.example:443", "xsts.amazonaws.com:443"):
        assert connect(f"CONNECT {target}").split()[1] == "403", target
    assert connect("CONNECT nonsense").split()[1] in ("400", "403")
    assert connect("GET http://sts.amazonaws.com/").split()[1] == "405"


def test_policies_see_who_asks_through_the_proxy(sts):
    """127.0.0.2 opens the tunnel; the STS behind it must not take its own proxy for the client."""
    condition = {"IpAddress": {"aws:SourceIp": "127.0.0.2/32"}, "Bool": {"aws:SecureTransport": "true"}}
    arn = sts.role("neighbour", sts.policy(Condition=condition))
    form = urllib.parse.urlencode({"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": arn, "RoleSessionName": "ss",
                                   "WebIdentityToken": sts.token()})
    host, port = sts.proxy.removeprefix("http://").split(":")
    context = ssl.create_default_context(cafile=sts.ca)

    def status(source):
        with socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0)) as tunnel:
            tunnel.sendall(b"CONNECT sts.eu-west-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tunnel.recv(4096).startswith(b"HTTP/1.1 200")
            with context.wrap_socket(tunnel, server_hostname="sts.eu-west-1.amazonaws.com") as secured:
                secured.sendall((f"POST / HTTP/1.1\r\nHost: sts.eu-west-1.amazonaws.com\r\nContent-Length: {len(form)}\r\n"
                                 f"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n{form}").encode())
                return int(secured.recv(4096).split()[1])

    eventually(lambda: status("127.0.0.2") == 200, what="the role")
    assert status("127.0.0.1") == 403
    assert refused(sts, arn, sts.token())[:2] == ("AccessDenied", NOT_AUTHORIZED)


# ---- what is answered

def test_an_assumed_role_says_who_it_is(sts):
    answer = sts.assume(ROLE + "reader", sts.token(), "me@example", DurationSeconds=900)
    assert answer["SubjectFromWebIdentityToken"] == "system:serviceaccount:default:default"
    assert answer["Audience"] == "sts.amazonaws.com"
    assert answer["Provider"] == sts.provider
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/me@example"
    made = answer["Credentials"]
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", made["AccessKeyId"])
    assert re.fullmatch(r"[A-Za-z0-9/+]{40}", made["SecretAccessKey"])
    identity = sts.as_session(answer).get_caller_identity()
    assert identity["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]


def test_a_role_with_a_path_keeps_it_out_of_the_session(sts):
    arn = sts.role("deep", json.dumps(sts.policy(), indent=1), path="/team/a/")
    assert arn == ROLE + "team/a/deep"
    assert sts.assume(arn, sts.token())["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deep/test-session"
    assert refused(sts, ROLE + "deep", sts.token())[3] == "role"


NOT_AUTHORIZED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"


@pytest.mark.parametrize("name, change, check, found", [
    ("wildcard", {"subject": "system:serviceaccount:default:*"}, "trust policy", "StringEquals takes * and ? literally: write StringLike"),
    ("action", {"Action": "sts:AssumeRole"}, "trust policy", "add sts:AssumeRoleWithWebIdentity to the statement's Action"),
    ("principal", {"Principal": {"Service": "pods.eks.amazonaws.com"}}, "trust policy", "set the statement's Principal to the caller"),
    ("denied", {"Effect": "Deny"}, "trust policy", "statement 0 denies sts:AssumeRoleWithWebIdentity"),
])
def test_a_refusal_keeps_awss_sentence_and_tells_the_reason_elsewhere(sts, name, change, check, found):
    sts.role(name, sts.policy(**change))
    code, message, request, reason = refused(sts, ROLE + name, sts.token())
    assert (code, message, reason) == ("AccessDenied", NOT_AUTHORIZED, check)
    event = eventually(lambda: sts.event(request), what="the event")
    assert event["involvedObject"]["kind"] == "Role" and event["involvedObject"]["name"] == name
    assert found in event["message"]
    verdict = json.loads(event["metadata"]["annotations"]["sts.podpass.dev/verdict"])
    assert verdict["request"] == request and verdict["trustPolicy"]["allowed"] is False
    assert request in sts.log()


def test_every_link_of_the_token_is_checked(sts):
    role, token = ROLE + "reader", sts.token()
    head, claims, signature = token.split(".")
    assert refused(sts, role, "x.y.z")[:2] == (
        "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
    assert refused(sts, role, sts.token(audience="other"))[:2] == ("InvalidIdentityToken", "Incorrect token audience")
    spoiled = ("A" if signature[10] != "A" else "B").join([signature[:10], signature[11:]])
    assert refused(sts, role, f"{head}.{claims}.{spoiled}")[:2] == ("InvalidIdentityToken", "Signature verification failed")
    assert refused(sts, ROLE + "nobody", token)[:2] == ("AccessDenied", NOT_AUTHORIZED)
    foreign = "arn:aws:iam::111122223333:role/reader"
    assert refused(sts, foreign, token)[:2] == ("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {sts.issuer}")
    assert refused(sts, "arn:aws:iam::1:instance-profile/x", token)[:2] == ("ValidationError", "Request ARN is invalid")
    assert refused(sts, role, token, DurationSeconds=3601)[:2] == (
        "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    assert refused(sts, role, token, session="a:b")[0] == "ValidationError"
    assert refused(sts, role, token, Policy="{")[:2] == ("MalformedPolicyDocument", "This policy contains invalid Json")


def test_an_issuer_that_is_away_is_told_as_such(sts):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{closed.getsockname()[1]}"
        body = {"apiVersion": "iam.podpass.dev/v1", "kind": "OIDCProvider", "metadata": {"name": "away"},
                "spec": {"url": issuer, "clientIDs": ["sts.amazonaws.com"]}}
        assert sts.call("POST", "/apis/iam.podpass.dev/v1/oidcproviders", body).code == 201
        eventually(lambda: sts.call("GET", "/apis/iam.podpass.dev/v1/oidcproviders/away").json.get("status"), what="an ARN")
        claims = {"iss": issuer, "sub": "system:x", "aud": "sts.amazonaws.com", "iat": 1700000000, "exp": 4000000000}
        token = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "k"})
        assert refused(sts, ROLE + "reader", token)[0] == "IDPCommunicationError"
        expired = jwt.encode({**claims, "exp": 1700000001}, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "k"})
        code, message = refused(sts, ROLE + "reader", expired)[:2]
        assert code == "ExpiredTokenException"
        assert re.fullmatch(r"Token expired: current date/time \d+ must be before the expiration date/time 1700000001", message)


# ---- signed calls

def test_a_role_assumes_another_and_tags_travel(sts):
    first = sts.assume(ROLE + "reader", sts.token())
    trusting = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": ROLE + "reader"},
                                                       "Action": ["sts:AssumeRole", "sts:TagSession"],
                                                       "Condition": {"StringEquals": {"sts:ExternalId": "e1"}}}}
    sts.role("second", trusting)
    session = sts.as_session(first)
    answer = session.assume_role(RoleArn=ROLE + "second", RoleSessionName="next", ExternalId="e1", Tags=[{"Key": "k", "Value": "v"}],
                                 TransitiveTagKeys=["k"])
    assert sts.as_session(answer).get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/second/next"
    with pytest.raises(botocore.exceptions.ClientError, match=rf"User: arn:aws:sts::{ACCOUNT}:assumed-role/reader/test-session is not "
                                                             rf"authorized to perform: sts:AssumeRole on resource: {ROLE}second"):
        session.assume_role(RoleArn=ROLE + "second", RoleSessionName="next")
    with pytest.raises(botocore.exceptions.ClientError, match="1 hour session limit for roles assumed by role chaining"):
        session.assume_role(RoleArn=ROLE + "second", RoleSessionName="next", ExternalId="e1", DurationSeconds=3601)


def test_a_transitive_tag_cannot_be_replaced_in_another_case(sts):
    trusting = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole", "sts:TagSession"]}}
    admins_only = {"StringEquals": {"aws:PrincipalTag/Team": "admin"}}
    admins = sts.role("tagged-admins", {**trusting, "Statement": {**trusting["Statement"], "Condition": admins_only}})
    next_, tagged = sts.role("tagged-next", trusting), sts.role("tagged", trusting)  # the STS learns of them in this order
    first = eventually(lambda: sts.as_admin().assume_role(RoleArn=tagged, RoleSessionName="ss", Tags=[{"Key": "Team", "Value": "dev"}],
                                                          TransitiveTagKeys=["Team"]), what="the role")
    for key in ("Team", "team"):
        with pytest.raises(botocore.exceptions.ClientError, match="conflicts with a transitive tag key from the calling session"):
            sts.as_session(first).assume_role(RoleArn=next_, RoleSessionName="ss", Tags=[{"Key": key, "Value": "admin"}])
    second = sts.as_session(first).assume_role(RoleArn=next_, RoleSessionName="ss")
    with pytest.raises(botocore.exceptions.ClientError, match="is not authorized to perform: sts:AssumeRole"):
        sts.as_session(second).assume_role(RoleArn=admins, RoleSessionName="ss")


def test_the_administrator_has_long_term_keys(sts):
    admin = sts.as_admin()
    assert admin.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/administrator"
    assert sts.admin_file.stat().st_mode & 0o777 == 0o600
    made = admin.get_session_token(DurationSeconds=900)["Credentials"]
    session = sts.client(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    assert session.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/administrator"
    with pytest.raises(botocore.exceptions.ClientError, match="Cannot call GetSessionToken with session credentials"):
        session.get_session_token()


def test_a_presigned_url_answers_and_dies_when_changed(sts):
    answer = sts.assume(ROLE + "reader", sts.token())
    url = sts.as_session(answer).generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    context = ssl.create_default_context(cafile=sts.ca)

    def fetch(address):
        try:
            with urllib.request.urlopen(address, timeout=20, context=context) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as failure:
            with failure:
                return failure.code, failure.read().decode()

    assert fetch(url)[0] == 200 and "assumed-role/reader/test-session" in fetch(url)[1]
    assert "SignatureDoesNotMatch" in fetch(url + "0")[1] and fetch(url + "0")[0] == 403
    assert "MissingAuthenticationToken" in fetch(sts.url + "/?Action=GetCallerIdentity&Version=2011-06-15")[1]
    assert "InvalidAction" in fetch(sts.url + "/any/path")[1]


@pytest.mark.parametrize("spoil, code", [
    (lambda made: {**made, "SecretAccessKey": "x" * 40}, "SignatureDoesNotMatch"),
    (lambda made: {**made, "SessionToken": made["SessionToken"][:-8] + "AAAAAAAA"}, "InvalidClientTokenId"),
    (lambda made: {**made, "AccessKeyId": "ASIAAAAAAAAAAAAAAAAA"}, "InvalidClientTokenId"),
])
def test_credentials_cannot_be_made_up(sts, spoil, code):
    answer = sts.assume(ROLE + "reader", sts.token())
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        sts.as_session({"Credentials": spoil(answer["Credentials"])}).get_caller_identity()
    assert failure.value.response["Error"]["Code"] == code


def test_sessions_can_be_revoked_and_die_with_their_role(sts):
    sts.role("brief", sts.policy())
    answer = eventually(lambda: sts.assume(ROLE + "brief", sts.token()), what="the role")
    session = sts.as_session(answer)
    session.get_caller_identity()
    patch = {"spec": {"revokeSessionsBefore": "2099-01-01T00:00:00Z"}}
    assert sts.call("PATCH", "/apis/iam.podpass.dev/v1/roles/brief", patch, {"Content-Type": "application/merge-patch+json"}).code == 200

    def code():
        try:
            session.get_caller_identity()
        except botocore.exceptions.ClientError as failure:
            return failure.response["Error"]["Code"]
        return None

    assert eventually(code) == "ExpiredToken"
    assert sts.call("DELETE", "/apis/iam.podpass.dev/v1/roles/brief").code == 200
    eventually(lambda: code() == "InvalidClientTokenId", what="the end of the role's sessions")


# ---- the kinds

def test_kubectl_knows_roles_and_providers(sts):
    manifest = {"apiVersion": "iam.podpass.dev/v1", "kind": "Role", "metadata": {"name": "Applied_Role"},
                "spec": {"trustPolicy": json.dumps(sts.policy())}}
    assert "created" in sts.kubectl("apply", "-f", "-", stdin=manifest)
    eventually(lambda: f"{ROLE}Applied_Role" in sts.kubectl("get", "roles.iam.podpass.dev"), what="the ARN in the table")
    assert sts.provider in sts.kubectl("get", "oidcproviders")
    assert "trustPolicy" in sts.kubectl("explain", "role.spec", "--api-version=iam.podpass.dev/v1")
    manifest["spec"]["trustPolicy"] = '{"Version":"2012-10-17",\n"Statement":[{"Effect":"Allow",\n"Resource":"*"}]}'
    assert "MalformedPolicyDocument: Has prohibited field Resource (at /Statement/0/Resource, line 3)" in sts.kubectl.fails("apply", "-f", "-", stdin=manifest)


def test_a_second_provider_of_a_url_is_told_that_it_does_not_count(sts):
    body = {"apiVersion": "iam.podpass.dev/v1", "kind": "OIDCProvider", "metadata": {"name": "a-squatter"},
            "spec": {"url": sts.issuer, "clientIDs": ["other"]}}
    path = "/apis/iam.podpass.dev/v1/oidcproviders"
    assert sts.call("POST", path, body).code == 201
    try:
        used = eventually(lambda: sts.call("GET", f"{path}/a-squatter").json.get("status", {}).get("conditions"), what="the condition")[0]
        assert (used["type"], used["status"], used["reason"]) == ("Used", "False", "EntityAlreadyExists")
        assert "podpass is older" in used["message"]
        assert sts.assume(ROLE + "reader", sts.token())["Provider"] == sts.provider
        assert refused(sts, ROLE + "reader", sts.token(audience="other"))[1] == "Incorrect token audience"
    finally:
        assert sts.call("DELETE", f"{path}/a-squatter").code == 200


# ---- the verbs

def podpass(*arguments):
    return subprocess.run([os.environ["PODPASS"], *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def test_doctor_shows_the_verdict_of_a_request(sts):
    sts.role("puzzling", sts.policy("system:serviceaccount:default:*"))
    request = refused(sts, ROLE + "puzzling", sts.token())[2]
    eventually(lambda: sts.event(request), what="the event")
    done = podpass("doctor", "request", request, "--kubeconfig", str(sts.kubeconfig))
    assert done.returncode == 1, done.stderr
    assert f"answered: AccessDenied: {NOT_AUTHORIZED}" in done.stdout
    assert 'FAIL  StringEquals' in done.stdout and 'found "system:serviceaccount:default:default"' in done.stdout
    assert "fix:      StringEquals takes * and ? literally: write StringLike" in done.stdout
    shown = json.loads(podpass("doctor", "request", request, "-o", "json", "--kubeconfig", str(sts.kubeconfig)).stdout)
    assert shown["request"] == request and shown["check"] == "trust policy"
    unknown = podpass("doctor", "request", "no-such-id", "--kubeconfig", str(sts.kubeconfig))
    assert unknown.returncode == 1 and "no refused STS request no-such-id is known" in unknown.stderr


def test_sts_runs_alone_beside_an_api_server(sts, tmp_path):
    with (tmp_path / "stderr").open("wb") as errors:
        alone = subprocess.Popen([os.environ["PODPASS"], "sts", "--data-dir", str(tmp_path / "sts"), "--port", "0", "--kubeconfig", str(sts.kubeconfig)],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        line = Lines(alone.stdout).until("podpass sts is ready at", 20)
        other = copy.copy(sts)
        other.url, other.ca = line.split()[-1], str(tmp_path / "sts" / "ca.crt")
        answer = other.assume(ROLE + "reader", sts.token())
        assert other.as_session(answer).get_caller_identity()["Arn"].endswith("assumed-role/reader/test-session")
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidClientTokenId"):
            sts.as_session(answer).get_caller_identity()  # another sts.key
        alone.terminate()
        assert alone.wait(20) == 0
    finally:
        if alone.poll() is None:
            alone.kill()
            alone.wait()


def test_nothing_secret_is_logged(sts):
    token = sts.token()
    made = sts.assume(ROLE + "reader", token)["Credentials"]
    refused(sts, ROLE + "nobody", token)
    for secret in (token, token.split(".")[2], made["SecretAccessKey"], made["SessionToken"]):
        assert secret not in sts.log()
