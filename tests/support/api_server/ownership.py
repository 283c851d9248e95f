"""Who owns which field: ``managedFields`` and server-side apply.

After the documented behaviour of server-side apply: objects are flattened to leaf paths by their schema
(granular maps, lists by key, sets; anything else is one leaf), and the rest is algebra of sets of paths.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.api_server.refusals import Object, RefusalError
from tests.support.api_server.schema import OPEN, Node, Schema

Path = tuple[str, ...]
Leaves = dict[Path, Any]

_ITEM = object()
"""The value of the path of an element itself, whose fields have paths of their own."""

_SYSTEM = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generateName",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)

_METADATA: Node = {
    "properties": {
        "finalizers": {"items": {}, "x-kubernetes-list-type": "set"},
        "ownerReferences": {
            "items": {**OPEN},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
        },
    },
    **OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, and how: ``operation`` is Apply or Update, ``subresource`` empty or ``status``."""

    manager: str
    operation: str
    subresource: str


Owners = dict[Writer, frozenset[Path]]


class Fields:
    """The fields of objects of one kind, in one version."""

    def __init__(self, schema: Schema, api_version: str) -> None:
        self._schema = schema
        self._api_version = api_version

    # --------------------------------------------------------------------------------------------- flattening

    def leaves(self, item: Object, *, part: str = "") -> Leaves:
        """The leaves of an object: of its status with ``part`` status, otherwise of all but that."""
        found: Leaves = {}
        for key, value in item.items():
            if key in ("apiVersion", "kind") or (key == "status") != (part == "status"):
                continue
            ours = _unsystematic(value, empty=False) if key == "metadata" else value
            if key != "metadata" or ours:
                found.update(self._leaves(ours, self._top(key), (f"f:{key}",)))
        return found

    def _top(self, key: str) -> Node:
        return _METADATA if key == "metadata" else self._schema.below(self._schema.root, key) or OPEN

    def _leaves(self, value: Any, node: Node, path: Path) -> Iterator[tuple[Path, Any]]:
        kind = _kind_of(value, node)
        if not value or kind == "atomic":
            yield path, value
        elif kind == "map":
            for key, child in value.items():
                below = self._schema.below(node, key) or OPEN
                yield from self._leaves(child, below, (*path, f"f:{key}"))
        else:
            items = self._schema.items(node)
            for element in value:
                place = (*path, _step(element, node, items))
                yield place, _ITEM
                if kind == "keyed":
                    for key, child in element.items():
                        below = self._schema.below(items, key) or OPEN
                        yield from self._leaves(child, below, (*place, f"f:{key}"))

    # ------------------------------------------------------------------------------------------------ writing

    def updated(self, before: Object | None, after: Object, writer: Writer) -> None:
        """Write into an object that was replaced or patched who owns what now."""
        old = self.leaves(before, part=writer.subresource) if before is not None else {}
        new = self.leaves(after, part=writer.subresource)
        changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
        gone = frozenset(old.keys() - new.keys())
        owners = owners_of(before)
        for other, paths in owners.items():
            owners[other] = paths - gone - (changed if other != writer else frozenset())
        owners[writer] = owners.get(writer, frozenset()) | changed
        self._store(after, owners, before)

    def applied(self, live: Object | None, applied: Object, writer: Writer, *, force: bool) -> Object:
        """The object after an apply, its managers included.

        Raises
        ------
        RefusalError
            Others own fields that would change, and ``force`` is off.
        """
        part = writer.subresource
        wanted = self.leaves(applied, part=part)
        base = live if live is not None else {key: applied[key] for key in ("apiVersion", "kind")}
        old = self.leaves(base, part=part)
        owners = owners_of(live)
        disputed = {path for path, value in wanted.items() if path in old and old[path] != value}
        self._settle(owners, disputed, writer, force=force)
        result = self._merged(base, applied, part=part)
        dropped = self._abandoned(owners, wanted, writer)
        for path in sorted(dropped, key=len, reverse=True):
            _remove(result, path)
        kept = frozenset(self.leaves(result, part=part))
        for other, paths in owners.items():
            if other.subresource == part:
                owners[other] = paths & kept
        owners[writer] = frozenset(wanted)
        self._store(result, owners, live)
        return result

    def _settle(self, owners: Owners, disputed: set[Path], writer: Writer, *, force: bool) -> None:
        """Take disputed fields from their owners, or refuse."""
        rivals = {
            other: paths & disputed
            for other, paths in owners.items()
            if (other.manager, other.operation) != (writer.manager, writer.operation) and paths & disputed
        }
        if rivals and not force:
            raise _dispute(rivals, self._api_version)
        for other, paths in rivals.items():
            owners[other] -= paths

    @staticmethod
    def _abandoned(owners: Owners, wanted: Leaves, writer: Writer) -> set[Path]:
        """What the writer applied before, leaves out now, and nobody else owns."""
        others = set().union(*(paths for other, paths in owners.items() if other != writer))
        still = {path[:length] for path in (*wanted, *others) for length in range(1, len(path) + 1)}
        return {path for path in owners.get(writer, frozenset()) if path not in still}

    def _merged(self, live: Object, applied: Object, *, part: str) -> Object:
        result = copy.deepcopy(live)
        for key, value in applied.items():
            if key in ("apiVersion", "kind") or (key == "status") != (part == "status"):
                continue
            ours = _unsystematic(value, empty=True) if key == "metadata" else value
            result[key] = self._merge(result.get(key), ours, self._top(key))
        names = {"name", "namespace", "generateName"} & applied["metadata"].keys()
        result.setdefault("metadata", {}).update({name: applied["metadata"][name] for name in names})
        return result

    def _merge(self, old: Any, new: Any, node: Node) -> Any:
        kind = _kind_of(new, node)
        if kind == "atomic" or type(old) is not type(new):
            return copy.deepcopy(new)
        if kind == "map":
            found = dict(old)
            for key, child in new.items():
                found[key] = self._merge(found.get(key), child, self._schema.below(node, key) or OPEN)
            return found
        items = self._schema.items(node)
        by_step = {_step(element, node, items): element for element in old}
        for element in new:
            step = _step(element, node, items)
            by_step[step] = self._merge(by_step.get(step), element, {**items, "x-kubernetes-map-type": ""})
        return list(by_step.values())

    def _store(self, item: Object, owners: Owners, before: Object | None) -> None:
        """Write the managers; those whose fields are the same keep their time."""
        known = owners_of(before)
        times = {_writer(entry): entry["time"] for entry in _entries(before)}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entries = []
        for writer, paths in owners.items():
            if paths:
                same = known.get(writer) == paths
                entry = {
                    "manager": writer.manager,
                    "operation": writer.operation,
                    "apiVersion": self._api_version,
                    "time": times[writer] if same else now,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": _nested(paths),
                }
                entries.append({**entry, **({"subresource": "status"} if writer.subresource else {})})
        item["metadata"].pop("managedFields", None)
        if entries:
            item["metadata"]["managedFields"] = entries


def _unsystematic(metadata: Object, *, empty: bool) -> Object:
    """Metadata without what the server owns, with or without what is empty."""
    return {key: value for key, value in metadata.items() if key not in _SYSTEM and (value or empty)}


def owners_of(item: Object | None) -> Owners:
    """The managers of an object and the paths that they own."""
    return {_writer(entry): frozenset(_paths(entry["fieldsV1"], ())) for entry in _entries(item)}


def _entries(item: Object | None) -> list[Object]:
    return [] if item is None else item["metadata"].get("managedFields") or []


def _writer(entry: Object) -> Writer:
    return Writer(
        manager=entry["manager"],
        operation=entry["operation"],
        subresource=entry.get("subresource", ""),
    )


def _kind_of(value: Any, node: Node) -> str:
    """How a value merges: as a ``map``, a ``keyed`` list, a ``set`` or as one ``atomic`` value."""
    if isinstance(value, dict):
        return "atomic" if node.get("x-kubernetes-map-type") == "atomic" else "map"
    if isinstance(value, list):
        return {"map": "keyed", "set": "set"}.get(node.get("x-kubernetes-list-type", ""), "atomic")
    return "atomic"


def _step(element: Any, node: Node, items: Node) -> str:
    """The step of a path that leads to an element of a list."""
    if node.get("x-kubernetes-list-type") == "set":
        return f"v:{json.dumps(element)}"
    properties = items.get("properties", {})
    keys = {
        key: element.get(key, properties.get(key, {}).get("default"))
        for key in node["x-kubernetes-list-map-keys"]
    }
    return f"k:{json.dumps(keys, sort_keys=True, separators=(',', ':'))}"


def _nested(paths: Iterable[Path]) -> Object:
    """Paths as ``FieldsV1``."""
    root: Object = {}
    for path in sorted(paths):
        node = root
        for step in path[:-1]:
            if step in node and not node[step]:
                node[step]["."] = {}  # it was a leaf, and has children too
            node = node.setdefault(step, {})
        node.setdefault(path[-1], {})
    return root


def _paths(nested: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for step, below in nested.items():
        if step == ".":
            yield path
        elif below:
            yield from _paths(below, (*path, step))
        else:
            yield (*path, step)


def _remove(item: Any, path: Path) -> None:
    """Remove what a path leads to, and what is empty for that."""
    trail: list[tuple[Any, Any]] = []
    value = item
    for step in path:
        key = _find(value, step)
        if key is None:
            return
        trail.append((value, key))
        value = value[key]
    for depth, (parent, key) in enumerate(reversed(trail)):
        if depth == 0 or not parent[key]:
            del parent[key]


def _find(value: Any, step: str) -> Any:
    sort, name = step[:1], step[2:]
    if sort == "f":
        return name if isinstance(value, dict) and name in value else None
    if not isinstance(value, list):
        return None
    wanted = json.loads(name)
    for index, element in enumerate(value):
        if element == wanted if sort == "v" else _has_keys(element, wanted):
            return index
    return None


def _has_keys(element: Any, keys: Mapping[str, Any]) -> bool:
    return isinstance(element, dict) and all(element.get(key, value) == value for key, value in keys.items())


def _dispute(rivals: Mapping[Writer, frozenset[Path]], api_version: str) -> RefusalError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{other.manager}"'
            + ("" if other.operation == "Apply" else f" using {api_version}"),
            "field": path_text(path),
        }
        for other, paths in rivals.items()
        for path in sorted(paths)
    ]
    count = len(causes)
    lines = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    text = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: {lines}"
    return RefusalError(409, "Conflict", text, details={"causes": causes})


def path_text(path: Path) -> str:
    """A path as messages have it: ``.spec.containers[name="x"].image``."""
    text = ""
    for step in path:
        name = step[2:]
        if step.startswith("f:"):
            text += f".{name}"
        elif step.startswith("k:"):
            keys = json.loads(name)
            text += f"[{','.join(f'{key}={json.dumps(value)}' for key, value in keys.items())}]"
        else:
            text += f"[={name}]"
    return text
