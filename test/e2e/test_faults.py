"""Game day: what a podpass that was started with --faults lets go wrong, as clients see it that were not written here."""

import contextlib
import json
import os
import re
import subprocess

import botocore.config
import botocore.exceptions
import pytest
from podpass import Podpass, eventually, fetched
from test_container_credentials import Loopback, TRUST, association
from test_sts import JAVASCRIPT, ROLE, refused, run

REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
KEY_NOT_HAD = ("Couldn't retrieve verification key from your identity provider,  "
               "please reference AssumeRoleWithWebIdentity documentation for requirements")


class GameDay(Loopback):
    @contextlib.contextmanager
    def fault(self, type, **spec):
        """In force when `with` begins, over when it has ended: what kubectl says of it meanwhile is given as a function."""
        name = type.lower()
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "identity.podpass.dev/v1", "kind": "Fault", "metadata": {"name": name},
                                                "spec": {"type": type, **spec}})
        try:
            yield lambda: self.kubectl.json("get", "fault", name)
        finally:
            self.kubectl("delete", "fault", name)

    def retrying(self, attempts):
        """STS for somebody without credentials, who asks so often."""
        import boto3
        config = botocore.config.Config(retries={"total_max_attempts": attempts, "mode": "standard"}, connect_timeout=20, read_timeout=20,
                                        signature_version=botocore.UNSIGNED)
        return boto3.session.Session().client("sts", endpoint_url=self.url, region_name="eu-west-1", verify=self.ca, config=config)

    def review(self, token):
        return self.call("POST", REVIEW, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                                          "spec": {"token": token, "audiences": ["sts.amazonaws.com"]}}).json["status"]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    with Podpass(tmp_path_factory.mktemp("faults"), "--node", "off", "--sts-connect-proxy", "127.0.0.1:0", "--container-credentials",
                 "127.0.0.1:0", "--faults") as running:
        made = GameDay(running, tmp_path_factory.mktemp("pod"))
        eventually(lambda: made.call("GET", "/api/v1/namespaces/default/serviceaccounts/default").code == 200, what="the service account")
        made.role("reader", made.policy())
        made.role("pods", TRUST)
        made.kubectl("apply", "-f", "-", stdin=association("mine", "default", "pods"))
        spec = {"containers": [{"name": "c", "image": "nothing:1"}]}
        assert made.call("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec}).code == 201
        eventually(lambda: made.ask(made.pod_token("p"))[0] == 200, what="credentials")
        yield made


def test_nobody_has_faults_who_did_not_ask_for_them(kubectl, call):
    manifest = {"apiVersion": "identity.podpass.dev/v1", "kind": "Fault", "metadata": {"name": "f"}, "spec": {"type": "STSDown"}}
    assert "no matches for kind" in kubectl.fails("apply", "--validate=false", "-f", "-", stdin=manifest)
    assert call("GET", "/apis/identity.podpass.dev/v1/faults").code == 404
    assert call("POST", "/apis/identity.podpass.dev/v1/faults", manifest).code == 404
    assert "faults" not in call("GET", "/apis/identity.podpass.dev/v1").body.decode()
    assert "v1.Fault" not in call("GET", "/openapi/v2").body.decode()


def test_only_an_administrator_makes_them(day):
    token = day.token(audience="https://kubernetes.default.svc")
    body = {"apiVersion": "identity.podpass.dev/v1", "kind": "Fault", "metadata": {"name": "f"}, "spec": {"type": "STSDown"}}
    assert day.call("POST", "/apis/identity.podpass.dev/v1/faults", body, token=token).code == 403


def test_throttling_is_awss_and_a_client_that_tries_again_gets_through(day):
    with day.fault("STSThrottling", times=2) as fault:
        answer = day.retrying(3).assume_role_with_web_identity(RoleArn=ROLE + "reader", RoleSessionName="retry", WebIdentityToken=day.token())
        assert answer["ResponseMetadata"]["RetryAttempts"] == 2
        eventually(lambda: fault().get("status", {}).get("requests") == 2, what="the count")
        [condition] = eventually(lambda: [each for each in fault()["status"]["conditions"] if each["status"] == "False"], what="its end")
        assert (condition["type"], condition["reason"]) == ("Active", "Over")
    with day.fault("STSThrottling"):
        assert refused(day, ROLE + "reader", day.token())[:2] == ("Throttling", "Rate exceeded")
    day.assume(ROLE + "reader", day.token())


@pytest.mark.parametrize("answer, says", [
    ("Unavailable", "An error occurred (ServiceUnavailable) when calling the AssumeRoleWithWebIdentity operation (reached max retries: 2)"),
    ("InternalError", "An error occurred (InternalFailure) when calling the AssumeRoleWithWebIdentity operation (reached max retries: 2)"),
    ("ConnectionClosed", "Connection was closed before we received a valid response"),
    ("HTMLPage", "AssumeRoleWithWebIdentityResult")])
def test_the_cli_tells_how_sts_is_down(day, answer, says):
    with day.fault("STSDown", answer=answer):
        environment = day.pod_environment(ROLE + "reader", day.token(), AWS_CA_BUNDLE=day.ca)
        done = run(["/usr/bin/aws", "--endpoint-url", day.url, "sts", "assume-role-with-web-identity", "--role-arn", ROLE + "reader",
                    "--role-session-name", "day", "--web-identity-token", "file://" + environment.pop("AWS_WEB_IDENTITY_TOKEN_FILE")], environment)
    assert done.returncode in (254, 255) and says in done.stderr, done.stderr


def test_an_issuer_that_is_away_is_the_one_refusal_that_is_tried_again(day):
    day.assume(ROLE + "reader", day.token())  # the keys are known
    with day.fault("IssuerDown") as fault:
        assert refused(day, ROLE + "reader", day.token())[0] == "IDPCommunicationError"
        eventually(lambda: fault().get("status", {}).get("requests"), what="the count")
    day.assume(ROLE + "reader", day.token())
    for answer in ("Unavailable", "HTMLPage"):
        with day.fault("IssuerDown", answer=answer):
            assert refused(day, ROLE + "reader", day.token())[:2] == ("InvalidIdentityToken", KEY_NOT_HAD)
    day.assume(ROLE + "reader", day.token())


def test_a_stale_jwks_lacks_the_key_of_every_token(day):
    with day.fault("JWKSStale"):
        assert refused(day, ROLE + "reader", day.token())[:2] == ("InvalidIdentityToken", KEY_NOT_HAD)
        done = subprocess.run([os.environ["PODPASS"], "token", "verify", "--issuer", day.issuer, "--issuer-ca", day.ca, "--audience",
                               "sts.amazonaws.com", "-"], input=day.token(), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and "publishes no key for kid" in done.stderr
    day.assume(ROLE + "reader", day.token())


def second_after(day):
    """Tokens tell their age in seconds: one of the second in which a fault began has expired with it."""
    return eventually(lambda: day.review(day.token()).get("authenticated"), what="a token of a later second")


def test_tokens_and_sessions_expire_now_and_new_ones_are_good(day):
    token, pod_token = day.token(), day.pod_token("p")
    session = day.as_session(day.assume(ROLE + "reader", token))
    api = day.token(audience="https://kubernetes.default.svc")
    assert day.call("GET", "/api", token=api).code == 200
    with day.fault("TokensExpired"):
        code, message = refused(day, ROLE + "reader", token)[:2]
        assert code == "ExpiredTokenException"
        assert re.fullmatch(r"Token expired: current date/time \d+ must be before the expiration date/time \d+", message)
        with pytest.raises(botocore.exceptions.ClientError, match="ExpiredToken.*The security token included in the request is expired"):
            session.get_caller_identity()
        assert day.call("GET", "/api", token=api).code == 401
        assert "service account token has expired" in day.review(token)["error"]
        assert "token has invalid claims: token is expired" in day.ask(pod_token)[1]
        second_after(day)
        day.as_session(day.assume(ROLE + "reader", day.token())).get_caller_identity()
        assert day.ask(day.pod_token("p"))[0] == 200
    session.get_caller_identity()
    assert day.call("GET", "/api", token=api).code == 200


def test_a_clock_that_is_off_breaks_what_it_breaks(day):
    session = day.as_session(day.assume(ROLE + "reader", day.token()))
    with day.fault("ClockSkew", skewSeconds=1200):
        with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch.*Signature expired: .* is now earlier than"):
            session.get_caller_identity()
        if modules := fetched("aws-sdk-js"):  # it reads the Date of the refusal, and corrects its clock
            script = modules / "identity.js"
            script.write_text(JAVASCRIPT)
            environment = day.pod_environment(ROLE + "reader", day.token(), AWS_ENDPOINT_URL_STS=day.url, NODE_EXTRA_CA_CERTS=day.ca)
            done = run(["node", str(script), "implicit"], {**environment, "PATH": os.environ["PATH"]})
            assert done.returncode == 0, done.stdout
    with day.fault("ClockSkew", skewSeconds=-1200):
        assert refused(day, ROLE + "reader", day.token())[:2] == ("InvalidIdentityToken", "Token is not valid yet")
    token = day.token()
    with day.fault("ClockSkew", component="APIServer", skewSeconds=-1200):
        assert "service account token is not valid yet" in day.review(token)["error"]
    assert day.review(token)["authenticated"]
    session.get_caller_identity()


def test_the_webhook_that_is_down_lets_pods_start_without_their_identity(day):
    day.kubectl("create", "serviceaccount", "annotated")
    day.kubectl("annotate", "serviceaccount", "annotated", f"eks.amazonaws.com/role-arn={ROLE}reader")
    pod = {"spec": {"serviceAccountName": "annotated", "containers": [{"name": "c", "image": "nothing:1"}]}}

    def made(name):
        answer = day.call("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": name}, **pod})
        assert answer.code == 201, answer
        return [each["name"] for each in answer.json["spec"]["containers"][0].get("env", [])]

    for answer in ("ConnectionClosed", "Unavailable", "HTMLPage"):
        with day.fault("WebhookDown", answer=answer):
            assert made(f"without-{answer.lower()}") == []
    assert "AWS_ROLE_ARN" in made("with")


def test_the_endpoint_of_containers_can_be_down(day):
    token = day.pod_token("p")
    with day.fault("CredentialsDown", answer="Unavailable", times=1):
        code, body = day.ask(token)
        assert code == 503 and re.fullmatch(r"\[[0-9a-f-]{36}\]: \(ServiceUnavailableException\): .*, fault: server\n", body)
        assert day.ask(token)[0] == 200


def test_kubectl_shows_what_is_in_force(day):
    with day.fault("STSDown", answer="Unavailable", percent=50):
        day.kubectl("wait", "--for=condition=Active", "fault/stsdown", "--timeout=20s")
        assert re.search(r"stsdown\s+STSDown\s+True\s+0", day.kubectl("get", "faults"))
        assert "a fault does not change" in day.kubectl.fails("patch", "fault", "stsdown", "--type=merge", "-p", '{"spec":{"percent":60}}')
    reasons = eventually(lambda: (found := day.kubectl("get", "events", "-n", "default", "--field-selector",
                                                       "involvedObject.name=stsdown")).count("FaultEnded") and found, what="the events")
    assert "FaultBegan" in reasons
    assert 'msg="fault began" name=stsdown kind=STSDown' in day.log()
    assert "percent" in day.kubectl("explain", "fault.spec")


def test_a_revoked_key_ends_its_tokens_for_good(day):
    token = day.token()
    with day.fault("KeyRevoked") as fault:
        def told():
            return [each for each in fault().get("status", {}).get("conditions", []) if "was revoked, and stays so" in each["message"]]
        eventually(told, what="the revocation")
        assert "no keys found" in day.review(token)["error"]
        assert refused(day, ROLE + "reader", token)[:2] == ("InvalidIdentityToken", KEY_NOT_HAD)
        day.assume(ROLE + "reader", day.token())
    assert "no keys found" in day.review(token)["error"]


def test_a_day_can_begin_with_faults(tmp_path):
    with Podpass(tmp_path, "--node", "off", "--sts-connect-proxy", "127.0.0.1:0", "--container-credentials", "127.0.0.1:0", "--fault",
                 "STSThrottling=50", "--fault", "ClockSkew=3600") as running:
        home = tmp_path / "home"
        home.mkdir()
        day = GameDay(running, home)
        shown = {each["metadata"]["name"]: each["spec"] for each in day.kubectl.json("get", "faults")["items"]}
        assert shown == {"ststhrottling": {"type": "STSThrottling", "percent": 50}, "clockskew": {"type": "ClockSkew", "skewSeconds": 3600}}
        codes = [refused(day, ROLE + "nobody", day.token())[0] for _ in range(4)]
        assert codes == ["Throttling", "ExpiredTokenException", "Throttling", "ExpiredTokenException"]


@pytest.mark.parametrize("argument", ["ClockSkew=soon", "KeyRevoked=1"])
def test_a_fault_that_cannot_be_read_is_a_usage_error(tmp_path, argument):
    done = subprocess.run([os.environ["PODPASS"], "up", "--data-dir", str(tmp_path / "d"), "--fault", argument], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 2 and argument.split("=")[0] in done.stderr
    assert not (tmp_path / "d").exists()
