"""Server-side apply: who owns what; the same against a real server (--kubeconfig) and ours."""

from __future__ import annotations

from typing import Any

import pytest

from planner.cluster import Kube, Object, connect
from planner.cluster.resources import CONFIG_MAPS, DEPLOYMENTS
from planner.errors import ConflictError, InvalidError, NotFoundError
from tests.support.api_server.fixtures import TestCluster


def config_map(cluster: TestCluster, data: dict[str, str], **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": cluster.namespace, **metadata},
        "data": data,
    }


@pytest.fixture
def other(cluster: TestCluster) -> Kube:
    """Another manager of fields."""
    found = connect(kubeconfig=cluster.kubeconfig)
    found.manager = "somebody-else"
    return found


def read(cluster: TestCluster) -> Object:
    return cluster.kube.get(CONFIG_MAPS, "a", namespace=cluster.namespace)


def test_an_apply_makes_changes_and_then_leaves_alone(cluster: TestCluster) -> None:
    made = cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}))
    assert made["data"] == {"x": "1"}
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("shardpack", "Apply")
    assert entry["fieldsV1"]["f:data"]["f:x"] == {}
    again = cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    changed = cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "2"}))
    assert changed["data"] == {"x": "2"}


def test_what_is_no_longer_applied_goes_and_what_others_own_stays(cluster: TestCluster, other: Kube) -> None:
    first = config_map(cluster, {"x": "1", "y": "2"}, labels={"ours": "1"})
    cluster.kube.apply(CONFIG_MAPS, first)
    other.apply(CONFIG_MAPS, config_map(cluster, {"z": "3"}, labels={"theirs": "1"}))
    cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"y": "2"}))
    found = read(cluster)
    assert found["data"] == {"y": "2", "z": "3"}
    assert found["metadata"]["labels"] == {"theirs": "1"}


def test_a_field_that_two_apply_with_one_value_goes_with_the_last_of_them(
    cluster: TestCluster, other: Kube
) -> None:
    for kube in (cluster.kube, other):
        kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}))
    cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"y": "1"}))
    assert read(cluster)["data"] == {"x": "1", "y": "1"}
    other.apply(CONFIG_MAPS, config_map(cluster, {"z": "1"}))
    assert read(cluster)["data"] == {"y": "1", "z": "1"}


def test_a_field_of_another_is_a_conflict_unless_it_is_forced(cluster: TestCluster, other: Kube) -> None:
    other.apply(CONFIG_MAPS, config_map(cluster, {"x": "1", "y": "1"}))
    with pytest.raises(ConflictError, match=r'conflict with "somebody-else": \.data\.x') as caught:
        cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "2"}))
    assert [fault.path for fault in caught.value.faults] == [".data.x"]
    assert read(cluster)["data"] == {"x": "1", "y": "1"}
    cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "2"}), force=True)
    other.apply(CONFIG_MAPS, config_map(cluster, {"y": "1"}))
    assert read(cluster)["data"] == {"x": "2", "y": "1"}, "x was taken away from the other"


def test_a_field_that_was_patched_belongs_to_who_patched_it(cluster: TestCluster, other: Kube) -> None:
    cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}))
    other.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace=cluster.namespace)
    with pytest.raises(ConflictError, match='conflict with "somebody-else" using v1'):
        cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}))


def test_a_field_that_the_kind_does_not_have_is_refused(cluster: TestCluster) -> None:
    with pytest.raises(InvalidError, match="dota"):
        cluster.kube.apply(CONFIG_MAPS, {**config_map(cluster, {"x": "1"}), "dota": {}})


def test_a_dry_run_of_an_apply_stores_nothing(cluster: TestCluster) -> None:
    cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}), dry_run=True)
    with pytest.raises(NotFoundError):
        read(cluster)
    made = cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "1"}))
    answer = cluster.kube.apply(CONFIG_MAPS, config_map(cluster, {"x": "2"}), dry_run=True)
    assert answer["data"] == {"x": "2"}
    assert read(cluster) == made


def deployment(cluster: TestCluster, *containers: Object) -> Object:
    labels = {"app": "a"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": cluster.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}},
        },
    }


def test_lists_with_keys_merge_by_them(cluster: TestCluster, other: Kube) -> None:
    port = {"containerPort": 80}
    ours = {"name": "ours", "image": "one", "ports": [port], "env": [{"name": "A", "value": "1"}]}
    cluster.kube.apply(DEPLOYMENTS, deployment(cluster, ours))
    theirs = {"name": "theirs", "image": "two"}
    other.apply(
        DEPLOYMENTS, deployment(cluster, theirs, {"name": "ours", "env": [{"name": "B", "value": "2"}]})
    )

    def containers() -> dict[str, Object]:
        found = cluster.kube.get(DEPLOYMENTS, "a", namespace=cluster.namespace)
        return {item["name"]: item for item in found["spec"]["template"]["spec"]["containers"]}

    assert containers()["theirs"]["image"] == "two"
    assert containers()["ours"]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    cluster.kube.apply(DEPLOYMENTS, deployment(cluster, {**ours, "env": []}))
    assert containers()["ours"]["env"] == [{"name": "B", "value": "2"}]
    other.apply(DEPLOYMENTS, deployment(cluster, {"name": "ours", "env": [{"name": "B", "value": "2"}]}))
    assert list(containers()) == ["ours"]
