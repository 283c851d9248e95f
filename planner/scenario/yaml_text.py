"""YAML's text: its nodes and its events under YAML 1.2's core rules, and the lines of its parts.

Nodes remember where they stand but take two gigabytes for a hundred thousand models, so a document that is
plain (no anchors, no tags, nothing that stands twice) is read from its events, and a place in it is looked up
when a fault asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from sys import intern
from typing import Any

import yaml

MAX_DEPTH = 200
"""Deeper nesting is refused."""

Loc = tuple[str | int, ...]

TAG = "tag:yaml.org,2002:"
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DepthError(yaml.YAMLError):
    """Nested deeper than ``MAX_DEPTH``."""


class NodeLoader(_Base):  # type: ignore[misc]
    """Composes nodes under YAML 1.2's core rules: ``no`` is text, ``010`` and ``12:30`` are not numbers."""

    depth = 0

    def descend_resolver(self, _parent: Any, _index: Any) -> None:
        """Count the levels: the parser recurses in C and would overflow the stack."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise DepthError

    def ascend_resolver(self) -> None:
        """Leave a level."""
        self.depth -= 1

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none; a plain table, since it is asked for every value."""
        if kind is not yaml.ScalarNode:
            return _MAP if kind is yaml.MappingNode else _SEQ
        if implicit[0]:
            for tag, pattern in _PLAIN.get(value[:1], ()):
                if pattern(value):
                    return tag
        return _STR


_STR, _SEQ, _MAP = (f"{TAG}{name}" for name in ("str", "seq", "map"))
_PLAIN: dict[str, list[tuple[str, Any]]] = {}
"""By a plain scalar's first character: the tags that it may have, and what tells."""

for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,40})", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
):
    for _character in _first:
        _PLAIN.setdefault(_character, []).append((TAG + _tag, re.compile(_pattern).fullmatch))


def scalar_value(tag: str, text: str) -> Any:
    """Return the value of a scalar.

    Raises
    ------
    ValueError
        The tag is none of the core's.
    """
    match tag.removeprefix(TAG):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text) if re.fullmatch(r"[-+]?[0-9]{1,41}", text) else text
        case "float":
            return _float(text)
    raise ValueError(f"the tag {tag!r} is not allowed")


def _float(text: str) -> float | str:
    try:
        return float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".NaN", "nan"))
    except ValueError:
        return text


# ------------------------------------------------------------------------------------------------- events


_NextEvent = Callable[[], Any]


class _NotPlainError(Exception):
    """The document has something that only its nodes tell."""


def plain_data(text: str) -> Any:
    """Return the data of one plain YAML document; None if it is not plain, empty or no YAML."""
    try:
        return _PlainReader(text).document()
    except (_NotPlainError, yaml.YAMLError, RecursionError):
        return None


class _PlainReader:
    """Turns events into plain data."""

    def __init__(self, text: str) -> None:
        self._next: _NextEvent = _Base(text).get_event

    def document(self) -> Any:
        """Return the data of the only document."""
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        data = self._value(self._next(), 0)
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)
        return data

    def _expect(self, kind: type) -> None:
        if type(self._next()) is not kind:
            raise _NotPlainError

    def _value(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is yaml.AliasEvent or event.tag is not None or depth > MAX_DEPTH:
            raise _NotPlainError
        if kind is yaml.ScalarEvent:
            return self._scalar(event)
        if kind is yaml.MappingStartEvent:
            return self._mapping(depth + 1)
        return self._sequence(depth + 1)

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if event.implicit[0]:
            for tag, pattern in _PLAIN.get(text[:1], ()):
                if pattern(text):
                    return scalar_value(tag, text)
        return text

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            key = self._next()
            if type(key) is yaml.MappingEndEvent:
                return found
            if type(key) is not yaml.ScalarEvent or key.tag is not None:
                raise _NotPlainError
            name = intern(key.value)
            if name in found or (name == "<<" and key.implicit[0]):
                raise _NotPlainError
            found[name] = self._value(self._next(), depth)

    def _sequence(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while True:
            event = self._next()
            if type(event) is yaml.SequenceEndEvent:
                return found
            found.append(self._value(event, depth))


# -------------------------------------------------------------------------------------------------- lines


def line_in(node: Any, loc: Loc) -> int | None:
    """Return the 0-based line of a place below a node, or of the nearest part around it; None without one."""
    line: int | None = None
    for part in loc:
        found = _child(node, part)
        if found is None:
            break
        node, line = found
    return line


def _child(node: Any, part: str | int) -> tuple[Any, int] | None:
    """Return a part of a node and the line that names it."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line
    return None


class _Part:
    """A part of a document: where it stands, and the parts of it that are outlined.

    Parameters
    ----------
    mark
        Where its text begins.
    line
        The 0-based line that names it; None is where it begins.
    """

    __slots__ = ("begin", "end", "first_line", "inner", "line")

    def __init__(self, mark: Any, line: int | None = None) -> None:
        self.first_line: int = mark.line
        self.line = self.first_line if line is None else line
        self.begin: int = mark.index
        self.end = self.begin
        self.inner: dict[str | int, _Part] = {}


class Outline:
    """Where a document's fields stand, those of its mappings, and the items of their lists.

    Only the item that has a fault is composed.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._root: _Part | None = None
        try:
            self._next: _NextEvent = _Base(text).get_event
            self._next()  # the stream's start
            self._next()  # the document's start
            self._root = self._part(self._next(), None, mappings=2)
        except (yaml.YAMLError, RecursionError):
            self._root = None

    def line_of(self, loc: Loc) -> int | None:
        """Return the 1-based line of a place, or of the nearest part around it; None if this is no YAML."""
        part, rest = self._root, loc
        if part is None:
            return None
        while rest and rest[0] in part.inner:
            part, rest = part.inner[rest[0]], rest[1:]
        inside = self._line_inside(part, rest) if rest and not part.inner else None
        return (part.line if inside is None else inside) + 1

    def _line_inside(self, part: _Part, loc: Loc) -> int | None:
        """Return the line of a place inside a part that is not outlined: its text is composed."""
        if "\n" not in self._text[part.begin : part.end]:
            return part.first_line
        column = part.begin - self._text.rfind("\n", 0, part.begin) - 1
        text = " " * column + self._text[part.begin : part.end]
        try:
            line = line_in(yaml.compose(text, Loader=NodeLoader), loc)
        except (yaml.YAMLError, RecursionError):
            return None
        return None if line is None else part.first_line + line

    def _part(self, event: Any, line: int | None, *, mappings: int) -> _Part:
        """Outline the part that begins with an event, and mappings down to a level."""
        part = _Part(event.start_mark, line)
        if mappings and type(event) is yaml.MappingStartEvent:
            part.end = self._fields(part, mappings - 1)
        elif type(event) is yaml.SequenceStartEvent:
            part.end = self._items(part)
        else:
            part.end = self._end_of(event)
        return part

    def _fields(self, part: _Part, mappings: int) -> int:
        while True:
            key = self._next()
            if type(key) is yaml.MappingEndEvent:
                return _end(key)
            if type(key) is not yaml.ScalarEvent:
                self._end_of(key)
                self._end_of(self._next())
                continue
            line = None if key.start_mark is None else key.start_mark.line
            field = self._part(self._next(), line, mappings=mappings)
            part.inner.setdefault(key.value, field)

    def _items(self, part: _Part) -> int:
        while True:
            event: Any = self._next()
            if type(event) is yaml.SequenceEndEvent:
                return _end(event)
            item = _Part(event.start_mark)
            item.end = self._end_of(event)
            part.inner[len(part.inner)] = item

    def _end_of(self, event: Any) -> int:
        """Return where the part that begins with an event ends, and pass over what is inside."""
        level = 0
        while True:
            level += isinstance(event, yaml.CollectionStartEvent)
            level -= isinstance(event, yaml.CollectionEndEvent)
            if not level:
                return _end(event)
            event = self._next()


def _end(event: Any) -> int:
    return int(event.end_mark.index)
