"""Server-side apply with kubectl: who set which field, and what others may not take from him."""

from test_kubectl import config_map

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
