"""Deletion: finalizers, owners, namespaces."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.support.api_server.kinds import Kind
from tests.support.api_server.refusals import Object, RefusalError, conflict, not_found
from tests.support.api_server.storage import Entry, Place, Storage, TableName

_NAMESPACES: TableName = ("", "namespaces")


class Cleanup:
    """Deletes objects and what goes with them, at once and under the storage's lock."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def delete(self, kind: Kind, place: Place, options: Mapping[str, Any]) -> tuple[Object, bool]:
        """Delete an object; return it and whether it is gone, rather than waiting for its finalizers."""
        with self._storage.lock:
            entry = self._storage.get(kind.table, place)
            if entry is None:
                raise not_found(kind.group, kind.plural, place[1])
            _check_preconditions(kind, entry, options)
            if options.get("dryRun"):
                return entry.object, not entry.object["metadata"].get("finalizers")
            policy = options.get("propagationPolicy") or "Background"
            if policy == "Orphan" or options.get("orphanDependents"):
                self._orphan(entry)
            return self._delete(kind.table, place, entry)

    def finish(self, table: TableName, place: Place, item: Object) -> Object:
        """Remove an object whose last finalizer has gone, in the state that it ended in."""
        self._storage.put(table, place, item)
        return self._remove(table, place)

    def check_namespace(self, namespace: str, item: Object, kind: Kind) -> None:
        """Refuse an object in a namespace that is not there, or is being deleted."""
        if not namespace:
            return
        entry = self._storage.get(_NAMESPACES, ("", namespace))
        if entry is None:
            raise not_found("", "namespaces", namespace)
        if entry.object["metadata"].get("deletionTimestamp"):
            name = item["metadata"]["name"]
            raise RefusalError(
                403,
                "Forbidden",
                f'{kind.plural} "{name}" is forbidden: unable to create new content in namespace {namespace} '
                "because it is being terminated",
                details={
                    "name": name,
                    "kind": kind.plural,
                    "causes": [{"reason": "NamespaceTerminating", "message": f"namespace {namespace}"}],
                },
            )

    def _delete(self, table: TableName, place: Place, entry: Entry) -> tuple[Object, bool]:
        if table == _NAMESPACES:
            return self._end_namespace(place[1], entry)
        if not entry.object["metadata"].get("finalizers"):
            return self._remove(table, place), True
        return self._mark(table, place, entry), False

    def _mark(self, table: TableName, place: Place, entry: Entry) -> Object:
        """Write that an object is to go once its finalizers have."""
        if entry.object["metadata"].get("deletionTimestamp"):
            return entry.object
        item = copy.deepcopy(entry.object)
        item["metadata"]["deletionTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        item["metadata"]["deletionGracePeriodSeconds"] = 0
        if "generation" in item["metadata"]:
            item["metadata"]["generation"] += 1
        if table == _NAMESPACES:
            item["status"] = {"phase": "Terminating"}
        return self._storage.put(table, place, item).object

    def _remove(self, table: TableName, place: Place) -> Object:
        gone = self._storage.remove(table, place).object
        self._collect(gone["metadata"]["uid"])
        if place[0]:
            self._end_if_empty(place[0])
        return gone

    # ------------------------------------------------------------------------------------- owners, namespaces

    def _collect(self, owner: str) -> None:
        """Delete what had no other owner; from the rest, remove the reference."""
        for table, place, entry in self._storage.owned_by(owner):
            if len(entry.object["metadata"]["ownerReferences"]) > 1:
                self._drop_reference(table, place, entry, owner)
            elif self._storage.get(table, place) is not None:
                self._delete(table, place, entry)

    def _orphan(self, owner: Entry) -> None:
        uid = owner.object["metadata"]["uid"]
        for table, place, entry in self._storage.owned_by(uid):
            self._drop_reference(table, place, entry, uid)

    def _drop_reference(self, table: TableName, place: Place, entry: Entry, owner: str) -> None:
        item = copy.deepcopy(entry.object)
        references = item["metadata"]["ownerReferences"]
        item["metadata"]["ownerReferences"] = [one for one in references if one["uid"] != owner]
        self._storage.put(table, place, item)

    def _end_namespace(self, name: str, entry: Entry) -> tuple[Object, bool]:
        marked = self._mark(_NAMESPACES, ("", name), entry)
        for table, place, inside in list(self._storage.everything()):
            if place[0] == name and self._storage.get(table, place) is not None:
                self._delete(table, place, inside)
        self._end_if_empty(name)
        return marked, False

    def _end_if_empty(self, namespace: str) -> None:
        """Remove a namespace that is being deleted and has nothing in it."""
        entry = self._storage.get(_NAMESPACES, ("", namespace))
        if entry is None or not entry.object["metadata"].get("deletionTimestamp"):
            return
        if not any(place[0] == namespace for _, place, _ in self._storage.everything()):
            self._storage.remove(_NAMESPACES, ("", namespace))


def _check_preconditions(kind: Kind, entry: Entry, options: Mapping[str, Any]) -> None:
    wanted = options.get("preconditions") or {}
    known = entry.object["metadata"]
    words = {"uid": ("UID", "deleted and then recreated"), "resourceVersion": ("ResourceVersion", "modified")}
    for field, (word, fate) in words.items():
        if wanted.get(field) not in (None, known[field]):
            why = (
                f"the {word} in the precondition ({wanted[field]}) does not match the {word} in record "
                f"({known[field]}). The object might have been {fate}"
            )
            raise conflict(kind.group, kind.plural, known["name"], why)
