"""What holds for every history of objects and of keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.cluster import Key, Object, Store, WorkQueue
from planner.cluster.resources import CONFIG_MAPS

NAMES = ("a", "b", "c")

Step = tuple[str, str, bool]
"""What happens to which object, and whether the watcher is deaf then."""


def stored(name: str, *, uid: int, version: int) -> Object:
    return {"metadata": {"namespace": "n", "name": name, "uid": str(uid), "resourceVersion": str(version)}}


@given(
    st.lists(st.tuples(st.sampled_from(("write", "delete", "list")), st.sampled_from(NAMES), st.booleans()))
)
def test_whatever_was_missed_changes_lead_to_what_there_is(steps: list[Step]) -> None:
    """Events that are missed are made up for by the next list; nothing is told twice or out of order."""
    store, live, replayed = Store(CONFIG_MAPS), {}, {}
    version = 0
    for action, name, deaf in [*steps, ("list", "", False)]:
        version += 1
        if action == "list":
            changes = store.replace(list(live.values()))
        elif action == "write":
            uid = live[name]["metadata"]["uid"] if name in live else version
            live[name] = stored(name, uid=int(uid), version=version)
            changes = () if deaf else store.absorb("MODIFIED", live[name])
        elif name in live:
            gone = stored(name, uid=int(live.pop(name)["metadata"]["uid"]), version=version)
            changes = () if deaf else store.absorb("DELETED", gone)
        else:
            continue
        for change in changes:
            assert (
                change.before == replayed.get(change.key)
                if change.kind != "deleted"
                else change.key in replayed
            )
            if change.kind == "deleted":
                del replayed[change.key]
            else:
                assert (change.kind == "added") == (change.key not in replayed)
                replayed[change.key] = change.object
    assert replayed == store.objects == {Key("n", name): item for name, item in live.items()}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("add", "later", "take", "done", "fail", "wait")),
            st.sampled_from(NAMES),
        )
    )
)
def test_no_key_is_lost_and_none_is_worked_on_twice_at_a_time(steps: list[tuple[str, str]]) -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    working: set[str] = set()
    owed: set[str] = set()
    """Keys that somebody added after they were last taken."""

    def take() -> bool:
        key = queue.take(timeout_s=0)
        if key is not None:
            assert key not in working
            working.add(key)
            owed.discard(key)
        return key is not None

    for action, key in steps:
        match action:
            case "add" | "later":
                queue.add(key, after_s=5.0 if action == "later" else 0.0)
                owed.add(key)
            case "take":
                take()
            case "done" | "fail" if key in working:
                if action == "fail":
                    queue.retry(key)
                    owed.add(key)
                working.discard(key)
                queue.done(key)
            case _:
                clock.now += 1.0
    clock.now += 10_000.0
    for key in sorted(working):
        queue.done(key)
    working.clear()
    while take():
        pass
    assert not owed
