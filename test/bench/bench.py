#!/usr/bin/python3
"""Whole paths over TLS, with `openssl speed` beside them on the same machine; printed as a table.

The load is h2load's: 32 HTTP/1.1 connections that each ask and wait, as a service account with a bound token; wrk's where each request has
a body of its own. Client and server share the cores. Needs PODPASS to name the binary. The token stands in h2load's argv: it is for a
throw-away server on loopback.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import image  # noqa: E402
from podpass import Call, Credentials, Kubectl, Podpass, Standalone, eventually  # noqa: E402

CONNECTIONS = 32
SECONDS = int(os.environ.get("PODPASS_BENCH_SECONDS", "3"))
PODS = int(os.environ.get("PODPASS_BENCH_PODS", "13500"))
ACCOUNTS = [int(count) for count in os.environ.get("PODPASS_BENCH_ACCOUNTS", "1,10000,100000").split(",")]  # growing
ALGORITHMS = {"RS256": "rsa2048", "RS256-3072": "rsa3072", "RS256-4096": "rsa4096", "ES256": "ecdsap256", "ES384": "ecdsap384", "ES512": "ecdsap521",
              "EdDSA": "ed25519"}  # and what openssl speed calls them
MANY_TOKENS = 6000  # more than the server remembers to have verified
ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
# No scheduler takes it, as none runs where others measure the API server alone.
POD = {"metadata": {"generateName": "bench-", "labels": {"app": "bench"}},
       "spec": {"schedulerName": "none", "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "3600"]}]}}


def row(what, figure, note=""):
    print(f"| {what:<52} | {figure:>12} | {note:<58} |", flush=True)


def openssl_speed():
    """By algorithm: signatures and verifications per second that OpenSSL makes on all cores."""
    done = subprocess.run(["openssl", "speed", "-multi", str(os.cpu_count()), "-seconds", "2", *ALGORITHMS.values()], capture_output=True, text=True,
                          check=True, timeout=120)
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r" *(rsa +)?\d+ bits ", line)]
    assert len(rows) == len(ALGORITHMS), done.stdout
    return {name: (float(columns[-2]), float(columns[-1])) for name, columns in zip(ALGORITHMS, rows)}


class Load:
    """h2load against one server."""

    def __init__(self, server, token, directory):
        self._server = server
        self._token = token
        self._directory = pathlib.Path(directory)

    def run(self, path, body=None, protocol="--h1", requests=None, content="application/json", streams=1):
        """Requests per second; every answer must be a success."""
        command = ["h2load", "-t", "1", "-c", str(CONNECTIONS // streams), "-m", str(streams)]
        command += ["-H", "Authorization: Bearer " + self._token, "-H", "Accept: application/json"]
        command += [protocol] if protocol else []
        command += ["-n", str(requests)] if requests else ["-D", str(SECONDS), "--warm-up-time", "1"]
        if body is not None:
            file = self._directory / "body"
            file.write_text(body if isinstance(body, str) else json.dumps(body))
            command += ["-d", str(file), "-H", "Content-Type: " + content]
        done = subprocess.run([*command, self._server.url + path], capture_output=True, text=True, check=True, timeout=SECONDS + 120).stdout
        rate = float(re.search(r"([\d.]+) req/s", done).group(1))
        codes = [int(number) for number in re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done).groups()]
        if codes[0] == 0 or sum(codes[1:]):
            raise RuntimeError(f"{path}: not every answer was a success:\n{done}")
        return rate


    def wrk(self, script, settings):
        """Requests per second, and how many; every answer must be a success."""
        file = self._directory / "settings.lua"
        file.touch(mode=0o600)
        file.write_text("return " + "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in dict(settings, token=self._token).items()) + "}")
        command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", "-s", str(pathlib.Path(__file__).parent / script), self._server.url]
        done = subprocess.run([*command, "--", str(file)], capture_output=True, text=True, check=True, timeout=SECONDS + 60).stdout
        if "Non-2xx" in done or "Socket errors" in done:
            raise RuntimeError(f"{script}: not every answer was a success:\n{done}")
        return float(re.search(r"Requests/sec: +([\d.]+)", done).group(1)), int(re.search(r"(\d+) requests in", done).group(1))


def megabytes(pid):
    """Resident, shared pages by their share, and what is the process's own and no file's."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return [int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE).group(1)) / 1024 for name in ("Rss", "Pss", "Anonymous")]


def memory(what, pid):
    rss, pss, own = megabytes(pid)
    row(what, f"{rss:.1f}", f"RSS; PSS {pss:.1f}; anonymous {own:.1f}")


def admin_token(call):
    """A token of a service account that may do everything."""
    binding = {"metadata": {"name": "bench"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
               "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]}
    eventually(lambda: call("GET", ACCOUNT).code == 200)
    made = call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    assert made.code in (201, 409), made
    return call("POST", ACCOUNT + "/token", {"spec": {"expirationSeconds": 7200}}).json["status"]["token"]


class AssumeRole:
    """A role that the default account may assume, and the load that does it."""

    def __init__(self, server, call, directory):
        issuer = server.issuer.removeprefix("https://")
        statement = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
                     "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{issuer}"},
                     "Condition": {"StringEquals": {f"{issuer}:sub": "system:serviceaccount:default:default", f"{issuer}:aud": "sts.amazonaws.com"}}}
        made = call("POST", "/apis/iam.podpass.dev/v1/roles",
                    {"metadata": {"name": "bench"}, "spec": {"trustPolicy": {"Version": "2012-10-17", "Statement": statement}}})
        assert made.code == 201, made
        token = call("POST", ACCOUNT + "/token", {"spec": {"audiences": ["sts.amazonaws.com"]}}).json["status"]["token"]
        self._form = urllib.parse.urlencode({"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": token,
                                             "RoleArn": "arn:aws:iam::000000000000:role/bench", "RoleSessionName": "bench"})
        sts = types.SimpleNamespace(url=json.loads((server.data / "endpoints.json").read_text())["sts"])
        self._load = Load(sts, token, directory)

    def rate(self):
        return self._load.run("/", self._form, content="application/x-www-form-urlencoded")


def of(rate, bare, what):
    return f"{100 * rate / bare:.0f} % of openssl speed's {bare:,.0f} {what} /s"


def rates(directory, speed):
    """Each algorithm signs the tokens for the audience of its name; who asks has a token by RS256."""
    choices = [word for algorithm in ALGORITHMS for word in ("--signing-algorithm-for-audience", f"{algorithm}={algorithm}")]
    with Podpass(directory, "--node", "off", *choices) as server:
        call = Call(server.url, Credentials(server.kubeconfig, directory))
        load = Load(server, admin_token(call), directory)
        for algorithm, (signs, verifies) in speed.items():
            rate = load.run(ACCOUNT + "/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [algorithm]}})
            row(f"TokenRequest {algorithm} /s", f"{rate:,.0f}", of(rate, signs, "signatures"))
            token = call("POST", ACCOUNT + "/token", {"spec": {"audiences": [algorithm]}}).json["status"]["token"]
            rate = load.run(TOKEN_REVIEWS, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": [algorithm]}})
            row(f"TokenReview of a live {algorithm} token /s", f"{rate:,.0f}", of(rate, verifies, "verifications"))
        for algorithm in ("RS256", "ES256"):
            rate = unseen(server, call, load, directory, algorithm)
            row(f"TokenReview of {algorithm} tokens never seen before /s", f"{rate:,.0f}", of(rate, speed[algorithm][1], "verifications"))
        row("AssumeRoleWithWebIdentity, RS256 token /s", f"{AssumeRole(server, call, directory).rate():,.0f}")
        row("GET of an object /s", f"{load.run(ACCOUNT):,.0f}", "HTTP/1.1")
        row("GET of an object /s", f"{load.run(ACCOUNT, protocol=None):,.0f}", "HTTP/2")
        row("pod create, with admission, durable /s", f"{load.run('/api/v1/namespaces/default/pods', POD):,.0f}")


def unseen(server, call, load, directory, algorithm):
    """Reviews per second of tokens that the server must verify anew: each is forgotten before it comes again."""
    tokens = pathlib.Path(directory) / "tokens"
    settings = {"audience": algorithm, "tokens": str(tokens)}
    for _ in range(20):
        load.wrk("tokens.lua", dict(settings, path=ACCOUNT + "/token", tokens=str(tokens) + ".more"))
        with tokens.open("a") as all_of_them:
            all_of_them.write(pathlib.Path(str(tokens) + ".more").read_text())
        if len(tokens.read_text().splitlines()) >= MANY_TOKENS:
            break
    verified = lambda: int(re.search(rb'^authentication_token_cache_request_total{status="miss"} (\d+)', call("GET", "/metrics").body, re.M).group(1))  # noqa: E731
    before = verified()
    rate, answers = load.wrk("reviews.lua", dict(settings, path=TOKEN_REVIEWS))
    assert verified() - before >= 0.99 * answers, "tokens were seen before"
    tokens.unlink()
    return rate


def many_pods(directory):
    with Podpass(directory, "--node", "off") as server:
        call = Call(server.url, Credentials(server.kubeconfig, directory))
        token = admin_token(call)
        memory("memory idle, MB", server.process.pid)
        Load(server, token, directory).run("/api/v1/namespaces/default/pods", POD, requests=PODS)
        memory(f"memory with {PODS} pods, MB", server.process.pid)


def many_tokens(directory, count=100_000):
    """What the inventory of live tokens takes: of one service account, so that their names are shared, as those of one pod's tokens are."""
    with Podpass(directory, "--node", "off", "--signing-key-algorithm", "ES256") as server:
        call = Call(server.url, Credentials(server.kubeconfig, directory))
        load = Load(server, admin_token(call), directory)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["sts.amazonaws.com"], "expirationSeconds": 7200}}
        load.run(ACCOUNT + "/token", request, requests=3200)  # what requests take by themselves
        before = megabytes(server.process.pid)[2]
        load.run(ACCOUNT + "/token", request, requests=count)
        eventually(lambda: int(re.search(rb"^podpass_issued_tokens (\d+)", call("GET", "/metrics").body, re.MULTILINE).group(1)) >= count,
                   what=f"{count} tokens in the inventory")
        own = megabytes(server.process.pid)[2]
        file = (server.data / "issued-tokens").stat().st_size / 2**20
        row(f"memory per {count:,} live tokens, MB", f"{own - before:.1f}", f"anonymous {own:.1f}; the file has {file:.1f}")


def many_accounts(directory):
    """The webhook beside the API server, and STS, with more and more annotated service accounts."""
    with Podpass(directory, "--node", "off", "--legacy-token-secrets", "manual") as server:
        call = Call(server.url, Credentials(server.kubeconfig, directory))
        load = Load(server, admin_token(call), directory)
        path = "/api/v1/namespaces/default/serviceaccounts"
        role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::210987654321:role/reader"}
        assert call("POST", path, {"metadata": {"name": "reader", "annotations": role}}).code == 201
        assume_role = AssumeRole(server, call, directory)
        there = 1
        for accounts in ACCOUNTS:
            if accounts > there:
                load.run(path, {"metadata": {"generateName": "account-", "annotations": role}}, requests=accounts - there)
                there = accounts
            webhook_alone(server, directory, accounts)
            row(f"AssumeRoleWithWebIdentity, {accounts:,} accounts /s", f"{assume_role.rate():,.0f}")


def webhook_alone(server, directory, accounts):
    with Standalone(pathlib.Path(directory), server.kubeconfig, "--namespace", "default", "--enable-debugging-handlers") as webhook:
        port, metrics = webhook.ports()

        def known():
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/debug/alpha/cache", timeout=60) as answer:
                return answer.read().count(b'"RoleARN"') >= accounts

        eventually(known, seconds=120, what="the cache")
        webhook.url = f"https://127.0.0.1:{port}"
        pod = dict(POD, spec=dict(POD["spec"], serviceAccountName="reader"))
        review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                  "request": {"uid": "u", "namespace": "default", "operation": "CREATE", "object": pod}}
        for protocol, streams, what in (("--h1", 1, "HTTP/1.1"), (None, 8, "HTTP/2, 8 at once on each of 4 connections, as API servers ask")):
            rate = Load(webhook, "none", directory).run("/mutate", review, protocol=protocol, streams=streams)
            row(f"webhook mutation, {accounts:,} accounts /s", f"{rate:,.0f}", what)
        time.sleep(1.5)  # it gives back what the load needed
        memory(f"memory of the webhook, {accounts:,} accounts, MB", webhook.process.pid)


def start_to_ready(times=7):
    seconds = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as directory, Podpass(directory, "--node", "off") as server:
            seconds.append(server.start_seconds * 1000)
    seconds.sort()
    row("start to ready, empty data directory, ms", f"{seconds[times // 2]:.0f}", f"median of {times}; {seconds[0]:.0f} to {seconds[-1]:.0f}")


def apply_to_running(times=9):
    """From kubectl apply's begin to a Running pod whose container has written its token to its log."""
    missing = [need for need in ("containerd", "runc", "ctr", image.BUSYBOX, "kubectl") if not shutil.which(need)]
    if os.geteuid() != 0 or missing:
        row("apply to Running, token readable, ms", "-", f"needs root, and {missing or 'nothing more'}")
        return
    with tempfile.TemporaryDirectory(prefix="podpass-") as directory, Podpass(directory) as server:
        image.put_into(server.data, pathlib.Path(directory))
        call = Call(server.url, Credentials(server.kubeconfig, directory))
        eventually(lambda: "secrets" in call("GET", ACCOUNT).json, what="the default account")
        pods = "/api/v1/namespaces/default/pods"
        seconds = [one_start(call, Kubectl(server.kubeconfig, pathlib.Path(directory)), f"{pods}/bench-{number}") for number in range(times)]
        call("DELETE", pods)
        eventually(lambda: not call("GET", pods).json["items"], seconds=60, what="the end of the pods")
    ms = sorted(1000 * each for each in seconds[1:])  # the first also unpacks the image
    row("apply to Running, token readable, ms", f"{ms[len(ms) // 2]:.0f}", f"median of {len(ms)}; {ms[0]:.0f} to {ms[-1]:.0f}; kubectl included")


def one_start(call, kubectl, path):
    name = path.rpartition("/")[2]
    reads = "cat /var/run/secrets/kubernetes.io/serviceaccount/token && echo && sleep 3600"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "c", "image": image.NAME, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", reads]}]}}
    began = time.monotonic()
    kubectl("apply", "-f", "-", stdin=pod)

    def runs():
        return call("GET", path).json["status"].get("phase") == "Running" and call("GET", path + "/log").body.startswith(b"ey")

    eventually(runs, seconds=60, what=f"{name} Running")
    return time.monotonic() - began


def main():
    row("whole path over TLS, 32 connections", "figure", f"{os.cpu_count()} cores, shared with the client")
    print(f"|{'-' * 54}|{'-' * 13}:|{'-' * 60}|")
    with tempfile.TemporaryDirectory() as directory:
        rates(directory, openssl_speed())
    start_to_ready()
    apply_to_running()
    with tempfile.TemporaryDirectory() as directory:
        many_pods(directory)
    with tempfile.TemporaryDirectory() as directory:
        many_tokens(directory)
    with tempfile.TemporaryDirectory() as directory:
        many_accounts(directory)


if __name__ == "__main__":
    main()
