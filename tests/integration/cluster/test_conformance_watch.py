"""Watching: what a watcher tells and keeps; on a real server (--kubeconfig) and ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from planner.cluster import Change, Key, Object, Watcher
from planner.cluster.resources import CONFIG_MAPS
from planner.errors import ClusterError
from tests.support.api_server.fixtures import TestCluster, eventually

LABEL = {"shardpack.dev/test": "yes"}
SELECTOR = "shardpack.dev/test=yes"


def config_map(cluster: TestCluster, name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": cluster.namespace, "labels": LABEL}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Heard:
    """What a watcher told, in order."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, change: Change) -> None:
        self.changes.append(change)

    @property
    def words(self) -> list[str]:
        return [f"{change.kind} {change.key.name}" for change in self.changes]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watcher(cluster: TestCluster, heard: Heard) -> Iterator[Watcher]:
    found = Watcher(cluster.kube, CONFIG_MAPS, on_change=heard, namespace=cluster.namespace, labels=SELECTOR)
    yield found
    found.stop()
    assert not found.alive


def test_a_watcher_tells_what_is_there_and_what_happens(
    cluster: TestCluster, watcher: Watcher, heard: Heard
) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    kube.create(CONFIG_MAPS, config_map(cluster, "a", x="1"))
    watcher.start()
    assert watcher.synced.wait(60)
    assert heard.words == ["added a"]
    kube.create(CONFIG_MAPS, config_map(cluster, "b"))
    kube.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace=namespace)
    kube.delete(CONFIG_MAPS, "b", namespace=namespace)
    words = ["added a", "added b", "changed a", "deleted b"]
    eventually(lambda: heard.words == words)
    changed = heard.changes[2]
    assert changed.before is not None
    assert (changed.before["data"], changed.object["data"]) == ({"x": "1"}, {"x": "2"})
    assert list(watcher.snapshot()) == [Key(namespace, "a")]
    assert watcher.get(Key(namespace, "b")) is None


def test_what_leaves_a_selection_is_deleted_and_what_enters_it_is_added(
    cluster: TestCluster, watcher: Watcher, heard: Heard
) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    kube.create(CONFIG_MAPS, config_map(cluster, "a"))
    watcher.start()
    assert watcher.synced.wait(60)
    without: Object = {"metadata": {"labels": {"shardpack.dev/test": None}}}
    kube.patch(CONFIG_MAPS, "a", without, namespace=namespace)
    kube.patch(CONFIG_MAPS, "a", {"metadata": {"labels": LABEL}}, namespace=namespace)
    eventually(lambda: heard.words == ["added a", "deleted a", "added a"])


def test_the_end_of_a_finalized_object_is_told_with_its_deletion(
    cluster: TestCluster, watcher: Watcher, heard: Heard
) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    body = config_map(cluster, "a")
    body["metadata"]["finalizers"] = ["shardpack.dev/test"]
    kube.create(CONFIG_MAPS, body)
    watcher.start()
    assert watcher.synced.wait(60)
    kube.delete(CONFIG_MAPS, "a", namespace=namespace)
    eventually(lambda: heard.words[1:] == ["changed a"])
    assert heard.changes[1].object["metadata"]["deletionTimestamp"]
    kube.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, namespace=namespace)
    eventually(lambda: heard.words[-1] == "deleted a")


def test_a_stream_resumes_where_another_ended_and_ends_in_time(cluster: TestCluster) -> None:
    kube, namespace = cluster.kube, cluster.namespace
    start = kube.list(CONFIG_MAPS, namespace=namespace).resource_version
    for name in ("a", "b"):
        kube.create(CONFIG_MAPS, config_map(cluster, name))

    def seen(version: str) -> list[tuple[str, str, str]]:
        with kube.watch(
            CONFIG_MAPS, resource_version=version, namespace=namespace, labels=SELECTOR, timeout_s=2
        ) as stream:
            return [
                (
                    event.type,
                    event.object["metadata"].get("name"),
                    event.object["metadata"]["resourceVersion"],
                )
                for event in stream
                if event.type != "BOOKMARK"
            ]

    both = seen(start)
    assert [row[:2] for row in both] == [("ADDED", "a"), ("ADDED", "b")]
    assert seen(both[0][2]) == both[1:]


def test_a_watch_of_a_kind_that_there_is_not_fails_and_is_tried_again(cluster: TestCluster) -> None:
    from planner.cluster import Resource

    nothing = Resource(group="nothing.shardpack.dev", version="v1", plural="nothings", kind="Nothing")
    with pytest.raises(ClusterError):
        cluster.kube.list(nothing)
    watcher = Watcher(cluster.kube, nothing)
    watcher.start()
    assert not watcher.synced.wait(0.1)
    assert watcher.alive
    watcher.stop()
    assert not watcher.alive
