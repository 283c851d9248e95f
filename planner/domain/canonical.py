"""One text for one value: the hash by which a plan names its scenario."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from types import MappingProxyType
from typing import Any

_Writer = Callable[[Any], str]

OMITTED_WHEN_EMPTY: Mapping[str, bool] = MappingProxyType({"omitted_when_empty": True})
"""Metadata of a field that was added later: None or an empty tuple leaves the text as it was before."""


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a frozen dataclass: sorted keys, no spaces, defaults included.

    A field with the metadata ``OMITTED_WHEN_EMPTY`` is left out where it is empty; it must not be the first
    one by name.
    """
    return "".join(_pieces(value))


def sha256_of(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a value's canonical JSON."""
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(piece.encode())
    return digest.hexdigest()


_AT_A_TIME = 1000
"""Items of a list whose texts are in memory together: the text of a large fleet would take gigabytes."""


def _pieces(value: Any) -> Iterator[str]:
    """Yield a value's canonical JSON: the lists that are a dataclass's own fields a few items at a time."""
    fields = getattr(value, "__dataclass_fields__", None)
    if not fields:
        yield _text(value)
        return
    mark = "{"
    for name in sorted(fields):
        field = getattr(value, name)
        if _is_omitted(fields[name]) and field in _EMPTY:
            continue
        yield f"{mark}{encode_basestring_ascii(name)}:"
        yield from _list_pieces(field) if type(field) is tuple else [_text(field)]
        mark = ","
    yield "}"


def _list_pieces(items: tuple[Any, ...]) -> Iterator[str]:
    rest = iter(items)
    mark = "["
    while some := list(islice(rest, _AT_A_TIME)):
        yield mark + ",".join(map(_text, some))
        mark = ","
    yield "]" if items else "[]"


def _text(value: Any) -> str:
    return _WRITERS[type(value)](value)


class _Writers(dict[type, _Writer]):
    """How each type is written; that of a dataclass is made when the first one is.

    A large fleet has millions of values, for which ``json`` would call back into Python one by one.
    """

    def __missing__(self, kind: type) -> _Writer:
        self[kind] = writer = _dataclass_writer(kind) if _fields_of(kind) else _plain
        return writer


def _dataclass_writer(kind: type) -> _Writer:
    leaves: dict[str, str | None] = {}
    outline = _outline(kind, "", leaves)
    read = attrgetter(*leaves)
    others = [(index, lead) for index, lead in enumerate(leaves.values()) if lead is not None]
    if len(leaves) == 1:
        return lambda value: outline % _WRITERS[type(read(value))](read(value))

    def write(value: Any) -> str:
        items = list(read(value))
        for index, lead in others:
            item = items[index]
            items[index] = "" if lead and item in _EMPTY else lead + _WRITERS[type(item)](item)
        return outline % tuple(items)

    return write


_EMPTY: tuple[object, ...] = (None, ())


def _outline(kind: type, path: str, leaves: dict[str, str | None]) -> str:
    """Return a dataclass's text with a gap for each leaf; notes their paths, and what leads their text.

    Nothing has to be done to whole numbers: None. A field that may be left out brings its comma and its name;
    one that is always the same dataclass is written in place.
    """
    outline = ""
    for name, field in sorted(_fields_of(kind).items()):
        part = vars(sys.modules[kind.__module__]).get(str(field.type))
        head = f"{',' if outline else ''}{encode_basestring_ascii(name)}:"
        if _is_omitted(field):
            leaves[path + name] = head
            outline += "%s"
        elif isinstance(part, type) and _fields_of(part):
            outline += head + _outline(part, f"{path}{name}.", leaves)
        else:
            leaves[path + name] = None if field.type == "int" else ""
            outline += f"{head}%s"
    return "{" + outline + "}"


def _is_omitted(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("omitted_when_empty"))


def _fields_of(kind: type) -> Mapping[str, dataclasses.Field[Any]]:
    return getattr(kind, "__dataclass_fields__", {})


def _items(value: tuple[Any, ...]) -> str:
    return "[" + ",".join([_WRITERS[type(item)](item) for item in value]) + "]"


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


_WRITERS = _Writers(
    {
        int: int.__repr__,
        str: encode_basestring_ascii,
        bool: lambda value: "true" if value else "false",
        type(None): lambda _: "null",
        tuple: _items,
    }
)
