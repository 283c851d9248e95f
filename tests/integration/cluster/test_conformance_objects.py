"""What an API server does with single objects; the same against a real one (--kubeconfig) and ours."""

from __future__ import annotations

import pytest

from planner.cluster import Object
from planner.cluster.resources import CONFIG_MAPS, NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES
from planner.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from tests.support.api_server.fixtures import TestCluster, eventually


def config_map(cluster: TestCluster, name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "data": data,
    }


def test_an_object_is_made_read_replaced_and_deleted(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    made = kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert kube.get(CONFIG_MAPS, "a", namespace=namespace) == made
    changed = kube.replace(CONFIG_MAPS, {**made, "data": {"y": "2"}})
    assert changed["data"] == {"y": "2"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    kube.delete(CONFIG_MAPS, "a", namespace=namespace)
    with pytest.raises(NotFoundError, match=r'Error from server \(NotFound\): configmaps "a" not found'):
        kube.get(CONFIG_MAPS, "a", namespace=namespace)
    with pytest.raises(NotFoundError):
        kube.delete(CONFIG_MAPS, "a", namespace=namespace)


def test_a_second_object_of_a_name_is_refused(cluster: TestCluster) -> None:
    cluster.kube.create(CONFIG_MAPS, config_map(cluster, "a"))
    with pytest.raises(AlreadyExistsError, match='configmaps "a" already exists'):
        cluster.kube.create(CONFIG_MAPS, config_map(cluster, "a"))


def test_a_name_can_be_left_to_the_server(cluster: TestCluster) -> None:
    body = config_map(cluster, "")
    body["metadata"] = {"generateName": "a-", "namespace": cluster.namespace}
    names = {cluster.kube.create(CONFIG_MAPS, body)["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


def test_a_replacement_of_what_has_changed_since_is_a_conflict(cluster: TestCluster) -> None:
    made = cluster.kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    cluster.kube.replace(CONFIG_MAPS, {**made, "data": {"x": "2"}})
    with pytest.raises(ConflictError, match="the object has been modified"):
        cluster.kube.replace(CONFIG_MAPS, {**made, "data": {"x": "3"}})
    kept = cluster.kube.get(CONFIG_MAPS, "a", namespace=cluster.namespace)
    assert kept["data"] == {"x": "2"}


def test_a_write_that_changes_nothing_makes_no_version(cluster: TestCluster) -> None:
    made = cluster.kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    same = cluster.kube.replace(CONFIG_MAPS, made)
    again = cluster.kube.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, namespace=cluster.namespace)
    assert {item["metadata"]["resourceVersion"] for item in (made, same, again)} == {
        made["metadata"]["resourceVersion"]
    }


def test_merge_patches_change_and_remove_fields(cluster: TestCluster) -> None:
    made = cluster.kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1", y="2"))
    patch: Object = {"data": {"x": None, "z": "3"}, "metadata": {"labels": {"l": "v"}}}
    changed = cluster.kube.patch(CONFIG_MAPS, "a", patch, namespace=cluster.namespace)
    assert changed["data"] == {"y": "2", "z": "3"}
    assert changed["metadata"]["labels"] == {"l": "v"}
    patch["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    patch["data"] = {"y": "9"}
    with pytest.raises(ConflictError):
        cluster.kube.patch(CONFIG_MAPS, "a", patch, namespace=cluster.namespace)


def test_json_patches_are_all_or_nothing(cluster: TestCluster) -> None:
    cluster.kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    operations = [
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "replace", "path": "/data/x", "value": "2"},
        {"op": "add", "path": "/data/a~1b", "value": "3"},
    ]
    with pytest.raises(InvalidError):
        cluster.kube.patch(CONFIG_MAPS, "a", operations, namespace=cluster.namespace)  # a slash is no key's
    operations[2]["path"] = "/data/ab"
    changed = cluster.kube.patch(CONFIG_MAPS, "a", operations, namespace=cluster.namespace)
    assert changed["data"] == {"x": "2", "ab": "3"}
    with pytest.raises(InvalidError):
        cluster.kube.patch(CONFIG_MAPS, "a", operations, namespace=cluster.namespace)


def test_faults_of_an_object_are_told_with_their_paths(cluster: TestCluster) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "Not_A_Name", "namespace": cluster.namespace},
        "spec": {"ports": [{"port": 80}]},
    }
    with pytest.raises(InvalidError, match=r"metadata\.name: Invalid value") as caught:
        cluster.kube.create(SERVICES, service)
    assert "metadata.name" in [fault.path for fault in caught.value.faults]
    bad = config_map(cluster, "a")
    bad["metadata"]["labels"] = {"l": "not a label's value"}
    with pytest.raises(InvalidError, match=r"metadata\.labels"):
        cluster.kube.create(CONFIG_MAPS, bad)
    with pytest.raises(InvalidError):
        cluster.kube.create(CONFIG_MAPS, {**config_map(cluster, "a"), "data": {"x": 1}})


def test_a_config_map_of_more_than_a_mebibyte_is_refused(cluster: TestCluster) -> None:
    cluster.kube.create(CONFIG_MAPS, config_map(cluster, "full", x="y" * (1024 * 1024 - 1)))
    with pytest.raises(InvalidError, match="Too long"):
        cluster.kube.create(CONFIG_MAPS, config_map(cluster, "larger", x="y" * (1024 * 1024 + 1)))
    with pytest.raises(InvalidError):
        cluster.kube.create(CONFIG_MAPS, config_map(cluster, "huge", x="y" * (4 * 1024 * 1024)))


def test_a_dry_run_answers_as_if_and_stores_nothing(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    made = kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"), dry_run=True)
    assert made["data"] == {"x": "1"}
    with pytest.raises(NotFoundError):
        kube.get(CONFIG_MAPS, "a", namespace=namespace)
    made = kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    assert kube.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace=namespace, dry_run=True)["data"] == {
        "x": "2"
    }
    kube.delete(CONFIG_MAPS, "a", namespace=namespace, dry_run=True)
    assert kube.get(CONFIG_MAPS, "a", namespace=namespace) == made


def test_a_deletion_may_ask_for_the_very_object_that_was_read(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    made = kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError, match="the UID in the precondition"):
        kube.delete(CONFIG_MAPS, "a", namespace=namespace, uid="00000000-0000-0000-0000-000000000000")
    kube.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace=namespace)
    with pytest.raises(ConflictError, match="the ResourceVersion in the precondition"):
        kube.delete(CONFIG_MAPS, "a", namespace=namespace, resource_version=version)
    kube.delete(CONFIG_MAPS, "a", namespace=namespace, uid=uid)


def test_a_finalizer_keeps_a_deleted_object_until_it_is_taken_off(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    body = config_map(cluster, "a")
    body["metadata"]["finalizers"] = ["shardpack.dev/test"]
    kube.create(CONFIG_MAPS, body)
    kube.delete(CONFIG_MAPS, "a", namespace=namespace)
    kept = kube.get(CONFIG_MAPS, "a", namespace=namespace)
    assert kept["metadata"]["deletionTimestamp"]
    kube.delete(CONFIG_MAPS, "a", namespace=namespace)
    kube.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, namespace=namespace)
    with pytest.raises(NotFoundError):
        kube.get(CONFIG_MAPS, "a", namespace=namespace)


def test_what_an_object_owns_goes_with_it(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    owner = kube.create(CONFIG_MAPS, config_map(cluster, "owner"))
    body = config_map(cluster, "owned")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    body["metadata"]["ownerReferences"] = [reference]
    kube.create(CONFIG_MAPS, body)
    kube.delete(CONFIG_MAPS, "owner", namespace=namespace)

    def gone() -> bool:
        return not any(
            item["metadata"]["name"] == "owned" for item in kube.list(CONFIG_MAPS, namespace=namespace).items
        )

    eventually(gone)


def test_nothing_is_made_in_a_namespace_that_there_is_not(cluster: TestCluster) -> None:
    body = config_map(cluster, "a")
    body["metadata"]["namespace"] = "shardpack-test-missing"
    with pytest.raises(NotFoundError, match='namespaces "shardpack-test-missing" not found'):
        cluster.kube.create(CONFIG_MAPS, body)


def test_a_namespace_that_is_deleted_takes_all_in_it_along(cluster: TestCluster) -> None:
    kube = cluster.kube
    name = f"{cluster.namespace}-2"
    kube.create(NAMESPACES, {"metadata": {"name": name}})
    body = config_map(cluster, "a")
    body["metadata"]["namespace"] = name
    kube.create(CONFIG_MAPS, body)
    kube.delete(NAMESPACES, name)

    def gone() -> bool:
        return not any(item["metadata"]["name"] == name for item in kube.list(NAMESPACES).items)

    eventually(gone)
    assert not kube.list(CONFIG_MAPS, namespace=name).items


def test_selectors_choose_by_labels_and_fields(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    for name, labels in (("a", {"app": "x", "tier": "1"}), ("b", {"app": "y"}), ("c", {})):
        body = config_map(cluster, name)
        body["metadata"]["labels"] = {**labels, "test": "yes"}
        kube.create(CONFIG_MAPS, body)

    def chosen(labels: str, fields: str | None = None) -> str:
        found = kube.list(CONFIG_MAPS, namespace=namespace, labels=f"test=yes,{labels}", fields=fields)
        return "".join(item["metadata"]["name"] for item in found.items)

    assert chosen("app=x") == "a"
    assert chosen("app!=x") == "bc"
    assert chosen("app in (x, y)") == "ab"
    assert chosen("app notin (x)") == "bc"
    assert chosen("tier") == "a"
    assert chosen("!tier") == "bc"
    assert chosen("test", "metadata.name=b") == "b"
    with pytest.raises(InvalidError, match="is not a known field selector"):
        chosen("test", "data.x=1")


def test_pods_are_chosen_by_their_node(cluster: TestCluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": cluster.namespace},
        "spec": {
            "nodeName": "no-such-node",
            "serviceAccountName": "pods",
            "containers": [{"name": "c", "image": "none"}],
        },
    }
    account = {"metadata": {"name": "pods", "namespace": cluster.namespace}}
    cluster.kube.create(SERVICE_ACCOUNTS, account)
    cluster.kube.create(PODS, pod)
    found = cluster.kube.list(PODS, namespace=cluster.namespace, fields="spec.nodeName=no-such-node").items
    assert [item["metadata"]["name"] for item in found] == ["p"]
    assert found[0]["kind"] == "Pod"
    other = cluster.kube.list(PODS, namespace=cluster.namespace, fields="spec.nodeName=another").items
    assert not other


def test_a_list_in_pages_is_one_list(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    for index in range(7):
        body = config_map(cluster, f"a-{index}")
        body["metadata"]["labels"] = {"test": "yes"}
        kube.create(CONFIG_MAPS, body)
    whole = kube.list(CONFIG_MAPS, namespace=namespace, labels="test=yes")
    paged = kube.list(CONFIG_MAPS, namespace=namespace, labels="test=yes", page=2)
    assert paged.items == whole.items
    assert [item["metadata"]["name"] for item in whole.items] == [f"a-{index}" for index in range(7)]
    assert int(paged.resource_version) >= int(whole.items[-1]["metadata"]["resourceVersion"])


def test_kinds_are_found_by_their_names(cluster: TestCluster) -> None:
    assert cluster.kube.resource_of("v1", "ConfigMap") == CONFIG_MAPS
    assert cluster.kube.resource_of("apps/v1", "Deployment").plural == "deployments"
    assert not cluster.kube.resource_of("v1", "Node").namespaced
    with pytest.raises(NotFoundError, match='no matches for kind "Nothing" in version "apps/v1"'):
        cluster.kube.resource_of("apps/v1", "Nothing")
    with pytest.raises(NotFoundError, match="no matches for kind"):
        cluster.kube.resource_of("nothing.dev/v1", "Nothing")
    assert cluster.kube.server_version().startswith("v1.")


def test_whoever_may_do_everything_is_told_so(cluster: TestCluster) -> None:
    assert cluster.kube.may("delete", CONFIG_MAPS, namespace=cluster.namespace)
