"""The copy that a watcher keeps, and what it says that changed."""

from __future__ import annotations

from planner.cluster import Change, Key, Object, Store
from planner.cluster.resources import CONFIG_MAPS


def item(name: str, *, version: int, uid: str | None = None) -> Object:
    metadata = {"namespace": "n", "name": name, "resourceVersion": str(version), "uid": uid or f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def told(changes: tuple[Change, ...]) -> list[tuple[str, str]]:
    return [(change.kind, change.key.name) for change in changes]


def test_a_first_list_adds_and_a_second_one_tells_differences_and_what_vanished() -> None:
    store = Store(CONFIG_MAPS)
    assert told(store.replace([item("a", version=1), item("b", version=2)])) == [
        ("added", "a"),
        ("added", "b"),
    ]
    changes = store.replace([item("b", version=3), item("c", version=4)])
    assert told(changes) == [("changed", "b"), ("added", "c"), ("deleted", "a")]
    assert changes[0].before == item("b", version=2)
    assert set(store.objects) == {Key("n", "b"), Key("n", "c")}


def test_events_of_a_watch_that_say_what_is_known_change_nothing() -> None:
    store = Store(CONFIG_MAPS)
    store.replace([item("a", version=1)])
    assert store.absorb("ADDED", item("a", version=1)) == ()
    assert store.absorb("DELETED", item("z", version=2)) == ()
    assert store.absorb("BOOKMARK", {"metadata": {"resourceVersion": "9"}}) == ()


def test_a_deleted_object_is_told_in_its_last_state() -> None:
    store = Store(CONFIG_MAPS)
    store.replace([item("a", version=1)])
    (change,) = store.absorb("DELETED", item("a", version=5))
    assert (change.kind, change.object) == ("deleted", item("a", version=5))
    assert not store.objects


def test_an_object_that_was_made_again_meanwhile_was_deleted_and_is_added() -> None:
    store = Store(CONFIG_MAPS)
    store.replace([item("a", version=1, uid="first")])
    changes = store.replace([item("a", version=9, uid="second")])
    assert told(changes) == [("deleted", "a"), ("added", "a")]
    assert changes[0].object["metadata"]["uid"] == "first"
    assert changes[1].before is None
