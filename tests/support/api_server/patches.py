"""Merge patches (RFC 7396) and JSON patches (RFC 6902)."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.api_server.refusals import RefusalError, bad_request


def merged(value: Any, patch: Any) -> Any:
    """A value after a merge patch; the value itself is used up."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = value if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), change)
    return found


def patched(value: Any, operations: Any) -> Any:
    """A value after a JSON patch, all of it or none; the value itself is used up."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type []Op")
    for operation in operations:
        try:
            value = _applied(value, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _unprocessable() from error
    return value


def _unprocessable() -> RefusalError:
    message = "the server rejected our request due to an error in our request"
    return RefusalError(422, "Invalid", message)


def _applied(value: Any, operation: dict[str, Any]) -> Any:
    path = _tokens(operation["path"])
    match operation["op"]:
        case "test":
            if _read(value, path) != operation["value"]:
                raise ValueError("a test failed")
        case "add":
            return _added(value, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(value, path)
        case "replace":
            _read(value, path)
            if not path:
                return copy.deepcopy(operation["value"])
            parent, key = _read(value, path[:-1]), path[-1]
            parent[int(key) if isinstance(parent, list) else key] = copy.deepcopy(operation["value"])
        case "copy":
            return _added(value, path, copy.deepcopy(_read(value, _tokens(operation["from"]))))
        case "move":
            source = _tokens(operation["from"])
            moved = _read(value, source)
            _remove(value, source)
            return _added(value, path, moved)
        case other:
            raise ValueError(f"unknown operation {other}")
    return value


def _tokens(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _read(value: Any, path: list[str]) -> Any:
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _added(value: Any, path: list[str], new: Any) -> Any:
    if not path:
        return new
    parent, key = _read(value, path[:-1]), path[-1]
    if isinstance(parent, list):
        index = len(parent) if key == "-" else int(key)
        if not 0 <= index <= len(parent):
            raise IndexError(key)
        parent.insert(index, new)
    else:
        parent[key] = new
    return value


def _remove(value: Any, path: list[str]) -> None:
    parent, key = _read(value, path[:-1]), path[-1]
    del parent[int(key) if isinstance(parent, list) else key]
