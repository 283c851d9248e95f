"""Objects as the API server sends them."""

from __future__ import annotations

from typing import Any, NamedTuple

Object = dict[str, Any]
"""An object in the API's own JSON."""


class Key(NamedTuple):
    """Which object of a kind; ``namespace`` is empty for what is in none. Sorts by namespace, then name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def is_object(item: Any) -> bool:
    """Return whether something that was received is an object: a mapping whose metadata has a name."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def key_of(item: Object) -> Key:
    """Return the key of an object."""
    metadata = item["metadata"]
    return Key(metadata.get("namespace") or "", metadata["name"])


def version_of(item: Object) -> str:
    """Return the ``resourceVersion`` of an object or a list; empty for one that was never stored."""
    return str(item.get("metadata", {}).get("resourceVersion") or "")
