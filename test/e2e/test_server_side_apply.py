"""Server-side apply with kubectl: who set which field, and what others may not take from him."""

from test_kubectl import cluster_kubectl, config_map  # noqa: F401 (the fixture: kubectl of each version)
from test_tokens import pod

APPLY = ("apply", "--server-side", "--field-manager=m", "-f", "-")


def test_what_is_no_longer_applied_goes(kubectl):
    assert kubectl(*APPLY, stdin=config_map("a", {"k": "1", "old": "x"})) == "configmap/a serverside-applied\n"
    kubectl("patch", "cm", "a", "--type=merge", "-p", '{"data":{"theirs":"y"}}')
    kubectl(*APPLY, stdin=config_map("a", {"k": "2"}))
    assert kubectl.json("get", "cm", "a")["data"] == {"k": "2", "theirs": "y"}


def test_a_conflict_is_named_and_can_be_forced(kubectl):
    kubectl(*APPLY, stdin=config_map("a", {"k": "1"}))
    kubectl("patch", "cm", "a", "--type=merge", "-p", '{"data":{"k":"2"}}')
    refused = kubectl.fails(*APPLY, stdin=config_map("a", {"k": "1"}))
    assert 'Apply failed with 1 conflict: conflict with "kubectl-patch" using v1: .data.k' in refused
    kubectl(*APPLY, "--force-conflicts", stdin=config_map("a", {"k": "1"}))
    assert kubectl.json("get", "cm", "a")["data"] == {"k": "1"}


def test_kubectl_goes_over_from_applying_by_itself(kubectl):
    kubectl("apply", "-f", "-", stdin=config_map("a", {"k": "1"}))
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=config_map("a", {"k": "2"}))
    assert kubectl.json("get", "cm", "a")["data"] == {"k": "2"}


def test_kubectl_goes_over_with_a_pod_and_takes_only_what_it_applied(kubectl):
    wanted = pod("eks-iam-test2")
    kubectl("apply", "-f", "-", stdin=wanted)
    before = kubectl.json("get", "pod", "eks-iam-test2")["spec"]
    assert before["tolerations"] and before["volumes"], "what admission adds is what must not be taken"
    for _ in range(2):
        result = kubectl.run("apply", "--server-side", "-f", "-", stdin=wanted)
        assert (result.returncode, result.stdout, result.stderr) == (0, "pod/eks-iam-test2 serverside-applied\n", "")
    assert kubectl.json("get", "pod", "eks-iam-test2")["spec"] == before
    wanted["spec"]["containers"][0]["image"] = "amazon/aws-cli:2"
    kubectl("apply", "--server-side", "-f", "-", stdin=wanted)
    assert kubectl.json("get", "pod", "eks-iam-test2")["spec"]["containers"][0]["image"] == "amazon/aws-cli:2"
    if kubectl.version() >= (1, 26):
        managed = kubectl.json("get", "pod", "eks-iam-test2", "--show-managed-fields")["metadata"]["managedFields"]
        managers = {each["manager"]: each["operation"] for each in managed}
        assert managers.items() >= {"kubectl": "Apply", "before-first-apply": "Update"}.items() and "kubectl-client-side-apply" not in managers
