"""The official Python client, unchanged: objects, patches, watches, tokens, and its way into a container."""

import datetime
import socket
import threading
import time

import image
import pytest
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream
from podpass import eventually


def connected(kubeconfig):
    return config.new_client_from_config(config_file=str(kubeconfig))


@pytest.fixture(scope="module")
def api(server):
    with connected(server.kubeconfig) as made:
        yield made


@pytest.fixture(scope="module")
def core(api):
    return client.CoreV1Api(api)


def config_map(name, data=None, **metadata):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **metadata), data=data)


def test_an_object_lives_from_create_to_delete(core, namespace):
    made = core.create_namespaced_config_map(namespace, config_map("a", {"k": "1"}, labels={"tier": "gold"}))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo is not None
    assert core.read_namespaced_config_map("a", namespace).data == {"k": "1"}
    assert [each.metadata.name for each in core.list_namespaced_config_map(namespace, label_selector="tier=gold").items] == ["a"]
    made.data = {"k": "2"}
    replaced = core.replace_namespaced_config_map("a", namespace, made)
    assert replaced.data == {"k": "2"} and replaced.metadata.resource_version != made.metadata.resource_version
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("a", namespace, made)
    assert stale.value.status == 409
    assert core.delete_namespaced_config_map("a", namespace).status == "Success"
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("a", namespace)
    assert gone.value.status == 404


@pytest.mark.parametrize("content, body", [
    ("application/strategic-merge-patch+json", {"data": {"b": "2"}}),
    ("application/merge-patch+json", {"data": {"b": "2"}}),
    ("application/json-patch+json", [{"op": "add", "path": "/data/b", "value": "2"}]),
])
def test_each_kind_of_patch_changes_what_it_names(core, api, namespace, content, body):
    core.create_namespaced_config_map(namespace, config_map("a", {"a": "1"}))
    patched = api.call_api("/api/v1/namespaces/{ns}/configmaps/a", "PATCH", {"ns": namespace}, body=body, header_params={"Content-Type": content},
                           response_type="V1ConfigMap", auth_settings=["BearerToken"], _return_http_data_only=True)
    assert patched.data == {"a": "1", "b": "2"}


def test_a_strategic_patch_merges_containers_by_name(core, namespace):
    container = client.V1Container(name="a", image="i", env=[client.V1EnvVar(name="A", value="1")])
    core.create_namespaced_pod(namespace, client.V1Pod(metadata=client.V1ObjectMeta(name="p"), spec=client.V1PodSpec(containers=[container])))
    patched = core.patch_namespaced_pod("p", namespace, {"spec": {"containers": [{"name": "a", "image": "other"}]}})
    [container] = patched.spec.containers
    assert container.image == "other" and container.env[0].value == "1"


def test_a_watch_tells_what_happens_in_order(core, namespace):
    since = core.list_namespaced_config_map(namespace).metadata.resource_version

    def change():
        core.create_namespaced_config_map(namespace, config_map("w", {"k": "1"}))
        core.patch_namespaced_config_map("w", namespace, {"data": {"k": "2"}})
        core.delete_namespaced_config_map("w", namespace)

    changing = threading.Thread(target=change)
    changing.start()
    seen = []
    for event in watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=since, field_selector="metadata.name=w",
                                      timeout_seconds=20):
        seen.append((event["type"], event["object"].data["k"]))
        if event["type"] == "DELETED":
            break
    changing.join()
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_a_watch_ends_when_its_time_is_up(core, namespace):
    began = time.monotonic()
    for _ in watch.Watch().stream(core.list_namespaced_secret, namespace, timeout_seconds=1):
        pass
    assert 0.5 < time.monotonic() - began < 15


def test_a_resource_version_that_is_no_number_is_a_bad_request(core, namespace):
    with pytest.raises(ApiException) as refused:
        for _ in watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version="not-a-number", timeout_seconds=5):
            pass
    assert refused.value.status == 400


def test_a_list_comes_in_pages(core, namespace):
    for number in range(5):
        core.create_namespaced_secret(namespace, client.V1Secret(metadata=client.V1ObjectMeta(name=f"s{number}", labels={"page": "yes"})))
    names, following = [], None
    while True:
        page = core.list_namespaced_secret(namespace, label_selector="page=yes", limit=2, _continue=following)
        assert len(page.items) <= 2
        names += [each.metadata.name for each in page.items]
        following = page.metadata._continue
        if not following:
            break
    assert names == ["s0", "s1", "s2", "s3", "s4"]


def test_a_token_is_asked_for_and_reviewed(core, api, namespace):
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=["vault"], expiration_seconds=900))
    made = core.create_namespaced_service_account_token("default", namespace, request)
    left = made.status.expiration_timestamp - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(seconds=880) < left <= datetime.timedelta(seconds=900)
    reviews = client.AuthenticationV1Api(api)

    def review(*audiences):
        spec = client.V1TokenReviewSpec(token=made.status.token, audiences=list(audiences))
        return reviews.create_token_review(client.V1TokenReview(spec=spec)).status

    assert review("vault").authenticated and review("vault").user.username == f"system:serviceaccount:{namespace}:default"
    assert not review("other").authenticated and review("other").error


def test_a_service_account_token_is_a_login(server, core, namespace):
    token = core.create_namespaced_service_account_token("default", namespace, client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[]))).status.token
    settings = client.Configuration(host=server.url)
    settings.ssl_ca_cert = str(server.data / "ca.crt")
    settings.api_key["authorization"] = "Bearer " + token
    with client.ApiClient(settings) as other:
        with pytest.raises(ApiException) as refused:
            client.CoreV1Api(other).list_namespaced_pod(namespace)
        assert refused.value.status == 403 and f"system:serviceaccount:{namespace}:default" in refused.value.body
        asked = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="list", resource="pods", namespace=namespace)))
        assert client.AuthorizationV1Api(other).create_self_subject_access_review(asked).status.allowed is False


def test_roles_and_leases_are_objects_like_others(api, namespace):
    rbac = client.RbacAuthorizationV1Api(api)
    rbac.create_namespaced_role(namespace, client.V1Role(metadata=client.V1ObjectMeta(name="r"), rules=[
        client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])]))
    assert rbac.read_namespaced_role("r", namespace).rules[0].verbs == ["get"]
    leases = client.CoordinationV1Api(api)
    now = datetime.datetime.now(datetime.timezone.utc)
    leases.create_namespaced_lease(namespace, client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=client.V1LeaseSpec(
        holder_identity="me", lease_duration_seconds=15, renew_time=now)))
    assert leases.read_namespaced_lease("l", namespace).spec.renew_time == now


def test_versions_and_resources_are_discovered(api, core):
    assert client.VersionApi(api).get_code().major == "1"
    assert {"pods", "serviceaccounts", "serviceaccounts/token"} <= {each.name for each in core.get_api_resources().resources}
    assert "v1" in client.CoreApi(api).get_api_versions().versions


@pytest.fixture(scope="module")
def node_core(node_server):
    with connected(node_server.kubeconfig) as made:
        yield client.CoreV1Api(made)


@pytest.fixture(scope="module")
def running(node_core, node_namespace):
    container = client.V1Container(name="main", image=image.NAME, image_pull_policy="IfNotPresent",
                                   command=["sh", "-c", "echo began; httpd -f -p 8080 -h /www"])
    node_core.create_namespaced_pod(node_namespace, client.V1Pod(
        metadata=client.V1ObjectMeta(name="python"), spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0)))
    eventually(lambda: node_core.read_namespaced_pod("python", node_namespace).status.phase == "Running", seconds=60, what="Running")
    return "python"


def test_exec_returns_what_was_written(node_core, node_namespace, running):
    said = stream(node_core.connect_get_namespaced_pod_exec, running, node_namespace, command=["sh", "-c", "echo out; echo err >&2"],
                  stdin=False, stdout=True, stderr=True, tty=False, _request_timeout=30)
    assert sorted(said.split()) == ["err", "out"]


def test_exec_is_a_conversation_with_an_exit_status(node_core, node_namespace, running):
    talk = stream(node_core.connect_get_namespaced_pod_exec, running, node_namespace, command=["sh"],
                  stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False, _request_timeout=30)
    talk.write_stdin("echo $((6*7))\n")
    assert talk.readline_stdout(timeout=20) == "42"
    talk.write_stdin("echo oops >&2\n")  # not at once: this client waits for the socket with a second frame already in its TLS buffer
    assert talk.readline_stderr(timeout=20) == "oops"
    talk.write_stdin("exit 3\n")
    talk.run_forever(timeout=20)
    assert talk.returncode == 3
    talk.close()


def test_logs_are_read(node_core, node_namespace, running):
    assert eventually(lambda: node_core.read_namespaced_pod_log(running, node_namespace), what="the log") == "began\n"
    assert node_core.read_namespaced_pod_log(running, node_namespace, timestamps=True).endswith("Z began\n")


def test_a_port_is_forwarded_over_a_websocket(node_core, node_namespace, running):
    forwarded = portforward(node_core.connect_get_namespaced_pod_portforward, running, node_namespace, ports="8080")
    connection = forwarded.socket(8080)
    connection.settimeout(20)
    connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    answer = b""
    while True:
        try:
            part = connection.recv(4096)
        except socket.timeout:
            break
        if not part:
            break
        answer += part
    connection.close()
    assert answer.startswith(b"HTTP/1") and answer.endswith(b"served from the container\n"), (answer, forwarded.error(8080))


def test_every_object_of_a_running_node_is_read(node_core, node_namespace, running):
    [node] = node_core.list_node().items  # the client refuses an object that lacks what it requires
    assert node.status.node_info.kubelet_version and node.status.capacity["pods"]
    assert node_core.list_event_for_all_namespaces().items
    [status] = node_core.read_namespaced_pod(running, node_namespace).status.container_statuses
    assert status.ready and status.image_id


def test_every_cluster_object_is_read(api, core):
    rbac = client.RbacAuthorizationV1Api(api)
    assert {"cluster-admin", "system:discovery"} <= {each.metadata.name for each in rbac.list_cluster_role().items}
    assert rbac.list_cluster_role_binding().items
    assert {"default", "kube-system"} <= {each.metadata.name for each in core.list_namespace().items}
    for each in client.AdmissionregistrationV1Api(api).list_mutating_webhook_configuration().items:
        assert each.webhooks and each.webhooks[0].admission_review_versions
