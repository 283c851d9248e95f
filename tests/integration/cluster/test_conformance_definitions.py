"""Kinds that a definition adds: schemas, status, generations; on a real server (--kubeconfig) and ours."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from planner.cluster import Object, Resource
from planner.errors import ClusterError, ConflictError, InvalidError, NotFoundError
from tests.support.api_server.fixtures import TestCluster, eventually

DEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
)


def definition(group: str) -> Object:
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "amount": {"x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "note": {"type": "string", "nullable": True},
        },
    }
    status = {"type": "object", "properties": {"phase": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


@pytest.fixture
def widgets(cluster: TestCluster) -> Iterator[Resource]:
    """A kind of this test alone."""
    group = f"test-{secrets.token_hex(4)}.shardpack.dev"
    made = cluster.kube.create(DEFINITIONS, definition(group))
    resource = Resource(group=group, version="v1", plural="widgets", kind="Widget")

    def established() -> bool:
        found = cluster.kube.get(DEFINITIONS, made["metadata"]["name"])
        conditions = found.get("status", {}).get("conditions") or []
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    def served() -> bool:
        try:
            return cluster.kube.list(resource).resource_version != ""
        except ClusterError:
            return False

    eventually(established)
    eventually(served)
    yield resource
    cluster.kube.delete(DEFINITIONS, made["metadata"]["name"])


def widget(cluster: TestCluster, widgets: Resource, **spec: object) -> Object:
    return {
        "apiVersion": widgets.api_version,
        "kind": widgets.kind,
        "metadata": {"name": "w", "namespace": cluster.namespace},
        "spec": {"size": 1, **spec},
    }


def test_defaults_are_filled_in_and_unknown_fields_dropped_with_a_warning(
    cluster: TestCluster, widgets: Resource
) -> None:
    warnings: list[str] = []
    kube = cluster.kube.adjusted(on_warning=warnings.append)
    made = kube.create(widgets, widget(cluster, widgets, shape="round", free={"any": ["thing"]}))
    assert made["spec"] == {"size": 1, "color": "red", "free": {"any": ["thing"]}}
    assert warnings == ['unknown field "spec.shape"']


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"size": "one"}, "spec.size"),
        ({"size": 0}, "spec.size"),
        ({"color": "green"}, "spec.color"),
    ],
)
def test_what_the_schema_forbids_is_told_with_its_path(
    cluster: TestCluster, widgets: Resource, spec: dict[str, object], path: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        cluster.kube.create(widgets, widget(cluster, widgets, **spec))
    assert [fault.path for fault in caught.value.faults] == [path]


def test_a_missing_field_is_told_with_its_path(cluster: TestCluster, widgets: Resource) -> None:
    body = widget(cluster, widgets)
    del body["spec"]["size"]
    with pytest.raises(InvalidError, match=r"spec\.size: Required value"):
        cluster.kube.create(widgets, body)


def test_numbers_and_text_where_either_may_be_and_null_where_it_may_be(
    cluster: TestCluster, widgets: Resource
) -> None:
    made = cluster.kube.create(widgets, widget(cluster, widgets, amount="1Gi", note=None))
    assert made["spec"]["amount"] == "1Gi"
    made["spec"]["amount"] = 5
    assert cluster.kube.replace(widgets, made)["spec"]["amount"] == 5
    with pytest.raises(InvalidError):
        cluster.kube.patch(widgets, "w", {"spec": {"amount": 1.5}}, namespace=cluster.namespace)


def test_status_and_the_rest_are_written_apart(cluster: TestCluster, widgets: Resource) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    made = kube.create(widgets, {**widget(cluster, widgets), "status": {"phase": "early"}})
    assert "status" not in made
    body = {**made, "status": {"phase": "done"}, "spec": {"size": 7, "color": "blue"}}
    told = kube.replace(widgets, body, subresource="status")
    assert told["status"] == {"phase": "done"}
    assert told["spec"] == made["spec"]
    changed = kube.patch(widgets, "w", {"spec": {"size": 2}, "status": {"phase": "no"}}, namespace=namespace)
    assert changed["spec"]["size"] == 2
    assert changed["status"] == {"phase": "done"}
    with pytest.raises(ConflictError):
        kube.replace(widgets, body, subresource="status")


def test_generations_count_what_was_asked_for_and_nothing_else(
    cluster: TestCluster, widgets: Resource
) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    generations = [kube.create(widgets, widget(cluster, widgets))["metadata"]["generation"]]
    patches: list[tuple[Object, str | None]] = [
        ({"spec": {"size": 2}}, None),
        ({"status": {"phase": "done"}}, "status"),
        ({"metadata": {"labels": {"l": "1"}}}, None),
        ({"spec": {"size": 3}}, None),
    ]
    for patch, part in patches:
        changed = kube.patch(widgets, "w", patch, namespace=namespace, subresource=part)
        generations.append(changed["metadata"]["generation"])
    assert generations == [1, 2, 2, 2, 3]


def test_an_apply_of_the_status_leaves_the_rest(cluster: TestCluster, widgets: Resource) -> None:
    cluster.kube.apply(widgets, widget(cluster, widgets))
    body = {**widget(cluster, widgets), "status": {"phase": "done"}}
    del body["spec"]
    told = cluster.kube.apply(widgets, body, subresource="status")
    assert (told["spec"]["size"], told["status"]) == (1, {"phase": "done"})
    again = cluster.kube.apply(widgets, widget(cluster, widgets, size=2))
    assert (again["spec"]["size"], again["status"]) == (2, {"phase": "done"})


def test_a_replacement_has_to_name_a_version(cluster: TestCluster, widgets: Resource) -> None:
    cluster.kube.create(widgets, widget(cluster, widgets))
    with pytest.raises(ValueError, match="replacing what was never read"):
        cluster.kube.replace(widgets, widget(cluster, widgets))


def test_a_kind_is_gone_with_its_definition(cluster: TestCluster) -> None:
    group = f"test-{secrets.token_hex(4)}.shardpack.dev"
    name = cluster.kube.create(DEFINITIONS, definition(group))["metadata"]["name"]
    cluster.kube.delete(DEFINITIONS, name)

    def gone() -> bool:
        try:
            cluster.kube.list(Resource(group=group, version="v1", plural="widgets", kind="Widget"))
        except NotFoundError:
            return True
        return False

    eventually(gone)
