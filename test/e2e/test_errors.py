"""Bad input gets a Status with the right code, reason and sentence, and leaves nothing behind."""

import json

import pytest


def assert_status(answer, code, reason, message=None):
    assert answer.code == code, answer
    status = answer.json
    assert status["kind"] == "Status" and status["apiVersion"] == "v1", status
    assert status["status"] == "Failure", status
    assert status["code"] == code, status
    assert status["reason"] == reason, status
    if message:
        assert message in status["message"], status
    return status


@pytest.fixture
def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


@pytest.mark.parametrize("body, why", [
    ("{", "cut off"),
    ('{"metadata":{"name":"a"}', "one brace short"),
    ('{"metadata":{"name":"a"}} trailing', "more than one document"),
    ("[]", "an array is not an object"),
    ('"text"', "a string is not an object"),
    ("\x00\x01", "not JSON at all"),
    ("[" * 100_000, "nested beyond any use"),
])
def test_malformed_json_is_a_bad_request(call, maps, body, why):
    assert_status(call("POST", maps, body), 400, "BadRequest")


@pytest.mark.parametrize("fields, why", [
    ({"data": {"a": 1}}, "a number for a string"),
    ({"data": ["a"]}, "a list for a map"),
    ({"immutable": "yes"}, "a string for a boolean"),
    ({"metadata": "a"}, "a string for an object"),
    ({"metadata": {"name": "a", "labels": {"a": True}}}, "a boolean for a label"),
])
def test_a_wrong_type_is_a_bad_request(call, maps, fields, why):
    assert_status(call("POST", maps, {**config_map("wrong-type"), **fields}), 400, "BadRequest")
    assert call("GET", f"{maps}/wrong-type").code == 404


def test_another_kind_than_the_path_names_is_a_bad_request(call, maps):
    assert_status(call("POST", maps, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}), 400, "BadRequest")


def test_an_unknown_field_is_refused_when_strict(call, maps):
    answer = call("POST", f"{maps}?fieldValidation=Strict", config_map("strict", zork=1))
    assert_status(answer, 400, "BadRequest", 'strict decoding error: unknown field "zork"')
    assert call("GET", f"{maps}/strict").code == 404


@pytest.mark.parametrize("query", ["", "?fieldValidation=Warn"])
def test_an_unknown_field_is_a_warning_by_default(call, maps, query):
    answer = call("POST", maps + query, config_map("warn", zork=1))
    assert answer.code == 201, answer
    assert answer.headers.get_all("Warning") == ['299 - "unknown field \\"zork\\""']
    assert "zork" not in answer.json


def test_an_unknown_field_is_dropped_silently_when_ignored(call, maps):
    answer = call("POST", f"{maps}?fieldValidation=Ignore", config_map("ignore", zork=1))
    assert answer.code == 201, answer
    assert answer.headers.get_all("Warning") is None
    assert "zork" not in answer.json


def test_a_nested_unknown_field_is_named_by_its_path(call, namespace):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "zork": 1}]}}
    answer = call("POST", f"/api/v1/namespaces/{namespace}/pods?fieldValidation=Strict", pod)
    assert_status(answer, 400, "BadRequest", 'unknown field "spec.containers[0].zork"')


def test_a_duplicate_field_is_refused_when_strict(call, maps):
    body = '{"metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}'
    assert_status(call("POST", f"{maps}?fieldValidation=Strict", body), 400, "BadRequest", 'duplicate field "data.a"')


def body_of(size):
    empty = json.dumps(config_map("large", data={"a": ""}))
    return json.dumps(config_map("large", data={"a": "x" * (size - len(empty))}))


def test_a_body_over_three_mebibytes_is_refused(call, maps):
    answer = call("POST", maps, body_of(3 * 1024 * 1024 + 1))
    assert_status(answer, 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    assert call("GET", f"{maps}/large").code == 404


def test_a_body_of_three_mebibytes_is_read_and_judged_by_its_content(call, maps):
    assert_status(call("POST", maps, body_of(3 * 1024 * 1024)), 422, "Invalid", "1048576 bytes")


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dot.", "spa ce", "ä", "a" * 254])
def test_an_invalid_name_is_unprocessable(call, maps, name):
    status = assert_status(call("POST", maps, config_map(name)), 422, "Invalid", "metadata.name: Invalid value")
    assert status["details"]["kind"] == "ConfigMap"
    assert status["details"]["causes"][0]["field"] == "metadata.name"
    assert status["details"]["causes"][0]["reason"] == "FieldValueInvalid"


def test_every_mistake_of_a_pod_is_reported_at_once(call, namespace):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": ""}]}}
    status = assert_status(call("POST", f"/api/v1/namespaces/{namespace}/pods", pod), 422, "Invalid")
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert {"spec.containers[1].name", "spec.containers[1].image"} <= fields


def test_a_pod_without_containers_is_unprocessable(call, namespace):
    answer = call("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "p"}, "spec": {}})
    assert_status(answer, 422, "Invalid", 'Pod "p" is invalid: spec.containers: Required value')


def test_a_stale_resource_version_is_a_conflict(call, maps):
    first = call("POST", maps, config_map("stale", data={"a": "1"})).json
    second = call("PUT", f"{maps}/stale", {**first, "data": {"a": "2"}})
    assert second.code == 200, second
    answer = call("PUT", f"{maps}/stale", {**first, "data": {"a": "3"}})
    status = assert_status(answer, 409, "Conflict")
    assert status["message"] == ('Operation cannot be fulfilled on configmaps "stale": the object has been modified; '
                                 "please apply your changes to the latest version and try again")
    assert status["details"] == {"name": "stale", "kind": "configmaps"}
    assert call("GET", f"{maps}/stale").json["data"] == {"a": "2"}


def test_a_second_object_of_a_name_already_exists(call, maps):
    assert call("POST", maps, config_map("twin")).code == 201
    status = assert_status(call("POST", maps, config_map("twin")), 409, "AlreadyExists")
    assert status["message"] == 'configmaps "twin" already exists'


def test_a_delete_with_another_uid_is_a_conflict(call, maps):
    assert call("POST", maps, config_map("kept")).code == 201
    assert_status(call("DELETE", f"{maps}/kept", {"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}}), 409, "Conflict")
    assert call("GET", f"{maps}/kept").code == 200


def test_a_name_that_differs_from_the_url_is_a_bad_request(call, maps):
    assert call("POST", maps, config_map("a")).code == 201
    assert_status(call("PUT", f"{maps}/a", config_map("z")), 400, "BadRequest",
                  "the name of the object (z) does not match the name on the URL (a)")


def test_a_missing_object_is_not_found(call, maps):
    status = assert_status(call("GET", f"{maps}/nope"), 404, "NotFound")
    assert status["message"] == 'configmaps "nope" not found'
    assert status["details"] == {"name": "nope", "kind": "configmaps"}


@pytest.mark.parametrize("path", ["/api/v1/zorks", "/api/v1/namespaces/default/zorks/a", "/api/v1/namespaces/default/configmaps/a/zork"])
def test_an_unknown_resource_under_a_served_group_is_not_found(call, path):
    assert_status(call("GET", path), 404, "NotFound", "the server could not find the requested resource")


@pytest.mark.parametrize("path", ["/apis/zork.example/v1/things", "/zork"])
def test_an_unserved_path_is_the_plain_404_page(call, path):
    answer = call("GET", path)
    assert answer.code == 404, answer
    assert answer.body == b"404 page not found\n"


@pytest.mark.parametrize("method, path", [
    ("POST", "/api/v1/namespaces/default/configmaps/a"),
    ("PUT", "/api/v1/namespaces/default/configmaps"),
    ("PATCH", "/api/v1/namespaces/default/configmaps"),
    ("DELETE", "/api/v1/configmaps"),
    ("GET", "/api/v1/namespaces/default/serviceaccounts/default/token"),
    ("GET", "/apis/authentication.k8s.io/v1/tokenreviews"),
])
def test_a_method_that_a_resource_does_not_have_is_not_allowed(call, method, path):
    body = config_map("a") if method in ("POST", "PUT", "PATCH") else None
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else None
    assert_status(call(method, path, body, headers), 405, "MethodNotAllowed",
                  "the server does not allow this method on the requested resource")


def test_an_unknown_patch_type_is_unsupported(call, maps):
    assert call("POST", maps, config_map("patched")).code == 201
    answer = call("PATCH", f"{maps}/patched", {"data": {}}, {"Content-Type": "application/zork"})
    assert_status(answer, 415, "UnsupportedMediaType")


def test_a_field_selector_that_a_kind_does_not_know_is_a_bad_request(call, maps):
    assert_status(call("GET", f"{maps}?fieldSelector=spec.foo%3Dx"), 400, "BadRequest",
                  '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"')


def test_a_stranger_is_told_what_is_missing(call):
    answer = call("GET", "/api/v1/namespaces/default/secrets", token="")
    assert_status(answer, 403, "Forbidden")
    assert answer.json["message"] == ('secrets is forbidden: User "system:anonymous" cannot list resource "secrets" '
                                      'in API group "" in the namespace "default"')


@pytest.mark.parametrize("content, body, why", [
    ("application/yaml", "metadata: {name: a", "YAML that is cut off"),
    ("application/yaml", "a: &a [*a, *a]\nb: *a", "an alias of itself"),
    ("application/yaml", "- a\n- b\n", "a list is not an object"),
    ("application/vnd.kubernetes.protobuf", b"k8s\x00\xff\xff\xff", "protobuf that is cut off"),
    ("application/vnd.kubernetes.protobuf", b"{}", "no magic number"),
    ("application/vnd.kubernetes.protobuf", b"k8s\x00\x0a\xff\xff\xff\xff\x0f", "a length past the end"),
])
def test_a_body_that_is_malformed_in_its_own_form_is_a_bad_request(call, maps, content, body, why):
    assert_status(call("POST", maps, body, {"Content-Type": content}), 400, "BadRequest")


def test_yaml_is_as_good_as_json(call, maps):
    answer = call("POST", maps, "metadata:\n  name: yaml\ndata:\n  k: |\n    two\n    lines\n", {"Content-Type": "application/yaml"})
    assert answer.code == 201, answer
    assert answer.json["data"] == {"k": "two\nlines\n"}
    assert call("GET", f"{maps}/yaml").json == answer.json


LARGE = 3 * 1024 * 1024 + 1


@pytest.mark.parametrize("method, path, content, body", [
    ("PATCH", "/held", "application/merge-patch+json", b'{"data":{"k":"' + b"x" * (LARGE - 17) + b'"}}'),
    ("PATCH", "/held?fieldManager=m", "application/apply-patch+yaml", b"#" * LARGE),
    ("POST", "", "application/vnd.kubernetes.protobuf", b"k8s\0" + b"\x12" * (LARGE - 4)),
    ("DELETE", "/held", "application/json", b'{"kind":"DeleteOptions"' + b" " * (LARGE - 24) + b"}"),
    ("DELETE", "", "application/json", b" " * LARGE),
], ids=["patch", "apply", "protobuf", "delete", "deletecollection"])
def test_a_body_that_is_too_large_is_refused_in_every_form(call, maps, method, path, content, body):
    before = call("POST", maps, config_map("held")).json
    assert len(body) == LARGE
    answer = call(method, maps + path, body, {"Content-Type": content})
    assert_status(answer, 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    assert call("GET", f"{maps}/held").json == before


@pytest.mark.parametrize("content", ["text/plain", "application/xml", "application/zork"])
def test_a_body_of_an_unknown_type_is_unsupported(call, maps, content):
    assert_status(call("POST", maps, "{}", {"Content-Type": content}), 415, "UnsupportedMediaType")


def test_an_answer_that_only_strangers_speak_is_not_acceptable(call, maps):
    assert_status(call("GET", maps, headers={"Accept": "application/zork"}), 406, "NotAcceptable")


@pytest.mark.parametrize("content, body, code, reason", [
    ("application/json-patch+json", "{", 400, "BadRequest"),
    ("application/json-patch+json", {"op": "add"}, 400, "BadRequest"),
    ("application/json-patch+json", [{"op": "zork", "path": "/data/a"}], 422, "Invalid"),
    ("application/json-patch+json", [{"op": "test", "path": "/data/a", "value": "other"}], 422, "Invalid"),
    ("application/json-patch+json", [{"op": "remove", "path": "/data/absent"}], 422, "Invalid"),
    ("application/json-patch+json", [{"op": "replace", "path": "/metadata/name", "value": "z"}], 400, "BadRequest"),
    ("application/json-patch+json", [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001, 413, "RequestEntityTooLarge"),
    ("application/merge-patch+json", "{", 400, "BadRequest"),
    ("application/merge-patch+json", {"data": {"a": 1}}, 400, "BadRequest"),
    ("application/merge-patch+json", {"metadata": {"resourceVersion": "1"}}, 409, "Conflict"),
    ("application/strategic-merge-patch+json", {"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}}, 409, "Conflict"),
    ("application/strategic-merge-patch+json", {"metadata": {"labels": {"a": "not a value"}}}, 422, "Invalid"),
])
def test_a_patch_that_cannot_be_leaves_the_object_as_it_was(call, maps, content, body, code, reason):
    before = call("POST", maps, config_map("patched", data={"a": "1"})).json
    assert_status(call("PATCH", f"{maps}/patched", body, {"Content-Type": content}), code, reason)
    assert call("GET", f"{maps}/patched").json == before


@pytest.mark.parametrize("query, code, reason", [
    ("limit=zork", 400, "BadRequest"),
    ("resourceVersion=zork", 400, "BadRequest"),
    ("resourceVersion=99999999999", 504, "Timeout"),
    ("continue=zork", 400, "BadRequest"),
    ("labelSelector=a%20b", 400, "BadRequest"),
    ("fieldSelector=metadata.name", 400, "BadRequest"),
    ("watch=true&resourceVersion=zork", 400, "BadRequest"),
])
def test_a_query_that_makes_no_sense_is_refused(call, maps, query, code, reason):
    assert_status(call("GET", f"{maps}?{query}"), code, reason)


def test_an_unknown_dry_run_is_unprocessable_and_writes_nothing(call, maps):
    assert_status(call("POST", f"{maps}?dryRun=zork", config_map("a")), 422, "Invalid")
    assert call("GET", f"{maps}/a").code == 404


@pytest.mark.parametrize("path", ["/api/v1/namespaces/default/configmaps/%00", "/api/v1/namespaces/..%2f..%2fetc/configmaps/a",
                                  "/api/v1/namespaces/default/configmaps/" + "a" * 9000, "//api//v1", "/api/v1/../v1/pods"])
def test_a_hostile_path_is_answered_and_harms_nothing(call, path):
    answer = call("GET", path)
    assert 400 <= answer.code < 500 or answer.code in (200, 301), answer
    assert call("GET", "/readyz").code == 200
