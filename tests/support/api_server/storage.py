"""Objects in memory, with versions and a history, as etcd and the watch cache keep them."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Condition, RLock
from typing import Literal

from tests.support.api_server.refusals import Object, expired

TableName = tuple[str, str]
Place = tuple[str, str]
"""Namespace (empty for none) and name."""

_SNAPSHOTS = 64
"""Paged lists that can be continued; older ones have expired."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored object, its version and its JSON; never changed."""

    object: Object
    version: int
    text: bytes

    def copy(self) -> Object:
        """The object, to be changed."""
        found: Object = json.loads(self.text)
        return found


@dataclass(frozen=True, slots=True)
class Happening:
    """What was written; ``before`` is what was there, None for what is new."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    version: int
    entry: Entry
    before: Entry | None


class Table:
    """The objects of one kind and what happened to them."""

    def __init__(self, lock: RLock) -> None:
        self.changed = Condition(lock)
        self.entries: dict[Place, Entry] = {}
        self.history: list[Happening] = []
        self.forgotten = 0
        """Happenings up to this version are no longer known."""
        self.dropped = 0
        """How many happenings were forgotten."""


class Storage:
    """All tables under one lock and one counter of versions.

    ``history`` is how many happenings a table remembers.
    """

    def __init__(self, *, history: int = 100_000) -> None:
        self.lock = RLock()
        self._history = history
        self._version = 1
        self._tables: dict[TableName, Table] = {}
        self._snapshots: dict[int, tuple[int, list[Entry]]] = {}
        self._snapshot_count = 0
        self._owned: dict[str, set[tuple[TableName, Place]]] = {}

    @property
    def version(self) -> int:
        return self._version

    def table(self, name: TableName) -> Table:
        with self.lock:
            found = self._tables.get(name)
            return found or self._tables.setdefault(name, Table(self.lock))

    def get(self, name: TableName, place: Place) -> Entry | None:
        return self.table(name).entries.get(place)

    def put(self, name: TableName, place: Place, item: Object) -> Entry:
        """Store an object under the next version."""
        with self.lock:
            table = self.table(name)
            before = table.entries.get(place)
            entry = self._entry(item)
            table.entries[place] = entry
            self._index(name, place, before, entry)
            self._remember(table, Happening("MODIFIED" if before else "ADDED", entry.version, entry, before))
            return entry

    def remove(self, name: TableName, place: Place) -> Entry:
        """Remove an object; its last state gets a version of its own."""
        with self.lock:
            table = self.table(name)
            before = table.entries.pop(place)
            self._index(name, place, before, None)
            entry = self._entry(before.object)
            self._remember(table, Happening("DELETED", entry.version, entry, before))
            return entry

    def owned_by(self, uid: str) -> list[tuple[TableName, Place, Entry]]:
        """The objects that name an object as their owner."""
        with self.lock:
            places = sorted(self._owned.get(uid, ()))
            return [(name, place, self._tables[name].entries[place]) for name, place in places]

    def _index(self, name: TableName, place: Place, before: Entry | None, after: Entry | None) -> None:
        for uid in _owners(before):
            self._owned[uid].discard((name, place))
        for uid in _owners(after):
            self._owned.setdefault(uid, set()).add((name, place))

    def _entry(self, item: Object) -> Entry:
        self._version += 1
        metadata = {**item["metadata"], "resourceVersion": str(self._version)}
        stored = {**item, "metadata": metadata}
        return Entry(stored, self._version, json.dumps(stored, separators=(",", ":")).encode())

    def _remember(self, table: Table, happening: Happening) -> None:
        table.history.append(happening)
        if len(table.history) > 2 * self._history:
            self._forget(table, len(table.history) - self._history)
        table.changed.notify_all()

    @staticmethod
    def _forget(table: Table, count: int) -> None:
        if count > 0:
            table.forgotten = table.history[count - 1].version
            table.dropped += count
            del table.history[:count]

    def compact(self) -> None:
        """Forget all that happened, and expire the pages of lists: who comes back has to list again."""
        with self.lock:
            self._version += 1
            for table in self._tables.values():
                self._forget(table, len(table.history))
                table.forgotten = self._version
            self._snapshots.clear()
            self.wake_all()

    def wake_all(self) -> None:
        """Let everyone who waits look again."""
        with self.lock:
            for table in self._tables.values():
                table.changed.notify_all()

    # -------------------------------------------------------------------------------------------------- lists

    def snapshot(self, name: TableName, namespace: str) -> tuple[int, list[Entry]]:
        """The version and all objects, sorted by namespace and name."""
        with self.lock:
            entries = self.table(name).entries
            places = [place for place in entries if not namespace or place[0] == namespace]
            return self._version, [entries[place] for place in sorted(places)]

    def keep(self, version: int, entries: list[Entry]) -> int:
        """Keep the rest of a list for those who continue; return its number."""
        with self.lock:
            self._snapshot_count += 1
            self._snapshots[self._snapshot_count] = (version, entries)
            while len(self._snapshots) > _SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
            return self._snapshot_count

    def kept(self, number: int) -> tuple[int, list[Entry]]:
        with self.lock:
            if number not in self._snapshots:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list result. You can "
                    "start a new list without the continue parameter."
                )
            return self._snapshots[number]

    # ------------------------------------------------------------------------------------------------ watches

    def after(self, name: TableName, version: int) -> int:
        """The number of the first happening after a version.

        Raises
        ------
        RefusalError
            It is forgotten (410).
        """
        with self.lock:
            table = self.table(name)
            if version < table.forgotten:
                raise expired(f"too old resource version: {version} ({table.forgotten})")
            found = bisect_right(table.history, version, key=lambda happening: happening.version)
            return table.dropped + found

    def since(self, name: TableName, number: int, *, wait_s: float) -> tuple[list[Happening], int]:
        """What happened from a number on, and the version up to which that is all; waits for something.

        Raises
        ------
        RefusalError
            It is forgotten (410).
        """
        deadline = time.monotonic() + wait_s
        with self.lock:
            table = self.table(name)
            while True:
                if number < table.dropped:
                    raise expired(f"too old resource version: {table.forgotten}")
                found = table.history[number - table.dropped :]
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found, self._version
                table.changed.wait(left)

    def everything(self) -> Iterator[tuple[TableName, Place, Entry]]:
        with self.lock:
            for name, table in self._tables.items():
                for place, entry in list(table.entries.items()):
                    yield name, place, entry


def _owners(entry: Entry | None) -> list[str]:
    references = entry.object["metadata"].get("ownerReferences") if entry else None
    return [reference["uid"] for reference in references or ()]
