"""One text for one value: the hash by which a plan names its scenario."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any

_Writer = Callable[[Any], str]


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a frozen dataclass: sorted keys, no spaces, defaults included."""
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
        yield f"{mark}{encode_basestring_ascii(name)}:"
        field = getattr(value, name)
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
        fields = getattr(kind, "__dataclass_fields__", None)
        self[kind] = writer = _dataclass_writer(fields) if fields else _plain
        return writer


def _dataclass_writer(fields: Mapping[str, dataclasses.Field[Any]]) -> _Writer:
    names = sorted(fields)
    keys = (json.dumps(name).replace("%", "%%") for name in names)
    template = "{" + ",".join(f"{key}:%s" for key in keys) + "}"
    read = attrgetter(*names)
    if len(names) == 1:
        return lambda value: template % (_WRITERS[type(read(value))](read(value)),)
    if all(field.type == "int" for field in fields.values()):
        return lambda value: template % read(value)
    return lambda value: template % tuple([_WRITERS[type(item)](item) for item in read(value)])


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
