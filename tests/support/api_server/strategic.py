"""Strategic merge patches, which Kubernetes' own kinds take: lists merge by the keys of their schemas."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.api_server.schema import OPEN, Node, Schema

_ORDER, _DELETE_FROM, _RETAIN = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys"
_DIRECTIVE = "$patch"


def strategically_merged(value: Any, patch: Any, schema: Schema, node: Node) -> Any:
    """A value after a strategic merge patch; the value itself is used up."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = value if isinstance(value, dict) and patch.get(_DIRECTIVE) != "replace" else {}
    if _RETAIN in patch:
        found = {key: child for key, child in found.items() if key in patch[_RETAIN]}
    for key, change in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            found[name] = [item for item in found.get(name) or () if item not in change]
        elif key in (_DIRECTIVE, _RETAIN) or key.startswith(_ORDER):
            continue  # an order is what lists have anyway
        elif change is None:
            found.pop(key, None)
        else:
            below = schema.below(node, key) or OPEN
            found[key] = _child(found.get(key), change, schema, below)
    return found


def _child(old: Any, change: Any, schema: Schema, node: Node) -> Any:
    if not isinstance(change, list) or node.get("x-kubernetes-patch-strategy", "").find("merge") < 0:
        return strategically_merged(old, change, schema, node)
    key = node.get("x-kubernetes-patch-merge-key")
    if key is None:
        kept = list(old or ())
        return kept + [item for item in change if item not in kept]
    return _merged_by_key(old or [], change, key, schema, schema.items(node))


def _merged_by_key(old: list[Any], change: list[Any], key: str, schema: Schema, items: Node) -> list[Any]:
    if any(item == {_DIRECTIVE: "replace"} for item in change):
        return [item for item in copy.deepcopy(change) if _DIRECTIVE not in item]
    found = {item[key]: item for item in old}
    for item in change:
        if item.get(_DIRECTIVE) == "delete":
            found.pop(item[key], None)
        else:
            found[item[key]] = strategically_merged(found.get(item[key]), item, schema, items)
    return list(found.values())
