"""A copy of the objects of one kind, and what changes in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from planner.cluster.objects import Key, Object, key_of, version_of
from planner.cluster.resources import Resource
from planner.cluster.stream import EventType

ChangeKind = Literal["added", "changed", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to one object.

    Parameters
    ----------
    kind
        ``added`` also for all that the first list finds; ``deleted`` also for what a later list misses.
    resource, key
        Which object.
    object
        As it is now; as it was last seen if it is ``deleted``. Not to be changed by those who read it.
    before
        As it was before; None if it is ``added``.
    """

    kind: ChangeKind
    resource: Resource
    key: Key
    object: Object
    before: Object | None


class Store:
    """The objects that a list and its watch have shown. Not for several threads at once."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._objects: dict[Key, Object] = {}

    @property
    def objects(self) -> Mapping[Key, Object]:
        """What there is now, as a view."""
        return MappingProxyType(self._objects)

    def replace(self, items: Iterable[Object]) -> tuple[Change, ...]:
        """Take a whole list for what there is, and return what that changes, what vanished last.

        An object that was deleted and made again meanwhile is one that was deleted and one that is added.
        """
        fresh = {key_of(item): item for item in items}
        found = [change for item in fresh.values() for change in self._put(item)]
        gone = [key for key in self._objects if key not in fresh]
        return (*found, *(self._drop(key) for key in gone))

    def absorb(self, event: EventType, item: Object) -> tuple[Change, ...]:
        """Take an event of a watch, and return what it changes: nothing, if it says what is known."""
        if event == "BOOKMARK":
            return ()
        if event != "DELETED":
            return self._put(item)
        key = key_of(item)
        if key not in self._objects:
            return ()
        self._objects[key] = item  # its last state
        return (self._drop(key),)

    def _put(self, item: Object) -> tuple[Change, ...]:
        key = key_of(item)
        before = self._objects.get(key)
        if before is not None and version_of(before) == version_of(item):
            return ()
        replaced: tuple[Change, ...] = ()
        if before is not None and _uid(before) != _uid(item):
            replaced, before = (self._drop(key),), None
        self._objects[key] = item
        kind: ChangeKind = "added" if before is None else "changed"
        return (
            *replaced,
            Change(kind=kind, resource=self._resource, key=key, object=item, before=before),
        )

    def _drop(self, key: Key) -> Change:
        last = self._objects.pop(key)
        return Change(kind="deleted", resource=self._resource, key=key, object=last, before=last)


def _uid(item: Object) -> str | None:
    uid: str | None = item["metadata"].get("uid")
    return uid
