"""Watchers when the server forgets, breaks off, goes down or says no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.cluster import Change, Kube, Watcher, connect
from planner.cluster.resources import CONFIG_MAPS
from planner.errors import GoneError, UnavailableError
from tests.support.api_server.fixtures import eventually
from tests.support.api_server.server import ApiServer
from tests.support.api_server.troubles import Trouble


@pytest.fixture
def kube(api_server: ApiServer, tmp_path: Path) -> Kube:
    return connect(kubeconfig=api_server.kubeconfig(tmp_path), timeout_s=5.0)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watcher(kube: Kube, told: list[str]) -> Iterator[Watcher]:
    def tell(change: Change) -> None:
        told.append(f"{change.kind} {change.key.name}")

    found = Watcher(kube, CONFIG_MAPS, on_change=tell, namespace="default")
    found.start()
    assert found.synced.wait(60)
    yield found
    found.stop()
    assert not found.alive


def make(kube: Kube, name: str) -> None:
    kube.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})


def lists(server: ApiServer) -> int:
    return sum(count for deed, count in server.troubles.requests.items() if deed.verb == "list")


def watches(server: ApiServer) -> int:
    return sum(count for deed, count in server.troubles.requests.items() if deed.verb == "watch")


def test_a_watch_that_breaks_off_is_resumed_without_a_list(
    api_server: ApiServer, kube: Kube, watcher: Watcher, told: list[str]
) -> None:
    eventually(lambda: watcher.following)
    make(kube, "a")
    eventually(lambda: told == ["added a"])
    for name in ("b", "c"):
        before = watches(api_server)
        api_server.end_watches()
        make(kube, name)
        eventually(lambda before=before: watches(api_server) > before)
    eventually(lambda: told == ["added a", "added b", "added c"])
    assert lists(api_server) == 1


def test_after_a_forgotten_version_all_is_listed_and_what_vanished_is_told(
    api_server: ApiServer, kube: Kube, watcher: Watcher, told: list[str]
) -> None:
    make(kube, "a")
    make(kube, "b")
    eventually(lambda: told == ["added a", "added b"])
    deaf = api_server.troubles.add(Trouble(kind="answer", code=503, verbs=("watch",)))
    api_server.end_watches()
    eventually(lambda: deaf.met)
    kube.delete(CONFIG_MAPS, "a", namespace="default")
    make(kube, "c")
    api_server.storage.compact()
    api_server.troubles.clear()
    eventually(lambda: told[2:] == ["added c", "deleted a"])
    assert sorted(key.name for key in watcher.snapshot()) == ["b", "c"]
    assert lists(api_server) == 2


def test_410_as_an_answer_means_the_same_as_410_in_an_event(
    api_server: ApiServer, kube: Kube, watcher: Watcher, told: list[str]
) -> None:
    gone = Trouble(kind="answer", code=410, reason="Expired", verbs=("watch",), times=1)
    api_server.troubles.add(gone)
    api_server.end_watches()
    eventually(lambda: lists(api_server) == 2)
    make(kube, "a")
    eventually(lambda: told == ["added a"])


def test_bookmarks_keep_a_quiet_watch_from_being_forgotten(
    api_server: ApiServer, kube: Kube, watcher: Watcher, told: list[str]
) -> None:
    make(kube, "a")
    eventually(lambda: told == ["added a"])
    kube.create(CONFIG_MAPS, {"metadata": {"name": "elsewhere", "namespace": "kube-system"}})
    seen = api_server.storage.version

    def marked() -> bool:
        return watcher._version is not None and int(watcher._version) >= seen

    eventually(marked)


def test_a_server_that_was_down_is_followed_again(
    api_server: ApiServer, kube: Kube, watcher: Watcher, told: list[str]
) -> None:
    make(kube, "a")
    eventually(lambda: told == ["added a"])
    with api_server.down():
        eventually(lambda: not watcher.following)
        with pytest.raises(UnavailableError, match="Unable to connect to the server"):
            kube.get(CONFIG_MAPS, "a", namespace="default")
        assert [key.name for key in watcher.snapshot()] == ["a"], "the copy stays as it was"
    make(kube, "b")
    eventually(lambda: told == ["added a", "added b"])


def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_loop(
    api_server: ApiServer, kube: Kube, watcher: Watcher
) -> None:
    before = watches(api_server)
    for _ in range(50):
        api_server.end_watches()
        watcher.synced.wait(0.01)
        api_server.end_watches()
    assert watches(api_server) - before < 25


def test_what_a_listener_raises_ends_the_watcher_and_is_not_swallowed(
    api_server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    raised: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_value))

    def fail(change: Change) -> None:
        raise LookupError(change.key.name)

    watcher = Watcher(kube, CONFIG_MAPS, on_change=fail, namespace="default")
    make(kube, "a")
    watcher.start()
    eventually(lambda: not watcher.alive)
    assert isinstance(raised[0], LookupError)
    watcher.stop()


def test_pages_that_expire_are_read_again_in_one(api_server: ApiServer, kube: Kube) -> None:
    for index in range(5):
        make(kube, f"a-{index}")
    expired = Trouble(kind="answer", code=410, reason="Expired", verbs=("list",), times=1, every=2)
    api_server.troubles.add(expired)
    found = kube.list(CONFIG_MAPS, namespace="default", page=2)
    assert [item["metadata"]["name"] for item in found.items] == [f"a-{index}" for index in range(5)]
    assert lists(api_server) == 3, "two pages, and then all"


def test_a_stream_from_a_forgotten_version_says_so(api_server: ApiServer, kube: Kube) -> None:
    make(kube, "a")
    version = kube.list(CONFIG_MAPS, namespace="default").resource_version
    make(kube, "b")
    api_server.storage.compact()
    with (
        kube.watch(CONFIG_MAPS, resource_version=version) as stream,
        pytest.raises(GoneError, match="too old"),
    ):
        list(stream)
