"""Text of a YAML or JSON document to plain data, with the line of every part of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from planner.errors import Fault, InputError
from planner.scenario.yaml_text import (
    MAX_DEPTH,
    TAG,
    DepthError,
    NodeLoader,
    Outline,
    line_in,
    plain_data,
    scalar_value,
)

MAX_FILE_BYTES = 1024 * 2**20
"""Larger files are refused: some 2,000,000 replicas as JSON, which take ten times the size in memory."""

MAX_NODES_CHARACTERS = 256 * 2**20
"""Larger YAML is refused unless it is plain: its nodes take fifty times the size in memory."""

_MAX_ALIAS_VALUES = 1_000_000
_MAX_ALIAS_FACTOR = 20
_LONGEST_NAME = 253
_MAPPING_BEGINNING = re.compile(r"\s*\{")
_JSON_BEGINNING = re.compile(r'\s*\{\s*["}]')

Loc = tuple[str | int, ...]
"""A place in a document: field names and list positions."""


def path_text(loc: Loc) -> str:
    """Return a place as people write it: ``spec.models[3].replicas``; odd field names are quoted."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = shown_name(part)
            text += f".{name}" if text else name
    return text


def shown_name(name: str) -> str:
    """Return a name that somebody gave to a field as it can be printed: whole, on one line, not too long."""
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
    return shown if shown.isprintable() and shown.strip() else repr(shown)


class Document:
    """One document: its data and where each part of it stands.

    Parameters
    ----------
    file
        The file's name as faults report it.
    data
        Plain data: dict, list, text, int, float, bool, None.
    text
        What it was read from.
    node
        The composed YAML node, if it was composed already; else lines are looked up in the text, and only
        when a fault asks.
    faults
        What is wrong with the text itself though it could be read (doubled keys).
    """

    def __init__(
        self, *, file: str, data: Any, text: str, node: Any = None, faults: tuple[Fault, ...] = ()
    ) -> None:
        self.file = file
        self.data = data
        self.faults = faults
        self._text = text
        self._node = node
        self._outline: Outline | None = None

    def fault(self, loc: Loc, message: str) -> Fault:
        """Return a fault at a place of this document."""
        return Fault(path=path_text(loc), message=message, file=self.file, line=self.line_of(loc))

    def line_of(self, loc: Loc) -> int | None:
        """Return the 1-based line of a place, or of the nearest part around it that stands in the text."""
        if self._node is not None:
            line = line_in(self._node, loc)
            return int(self._node.start_mark.line if line is None else line) + 1
        if self._outline is None:
            self._outline = Outline(self._text)
        return self._outline.line_of(loc)


# ------------------------------------------------------------------------------------------------ reading


def read_document(path: Path, *, file: str | None = None) -> Document:
    """Return the one document of a file.

    Raises
    ------
    InputError
        The file cannot be read, or is not one YAML or JSON document.
    """
    name = file if file is not None else str(path)
    return parse_document(read_text(path, file=name), file=name)


def read_text(path: Path, *, file: str) -> str:
    """Return a file's text.

    Raises
    ------
    InputError
        It is missing, a directory, larger than ``MAX_FILE_BYTES``, not UTF-8 or not text.
    """
    try:
        if path.is_dir():
            raise _input_error(file, "is a directory; give a file")
        with path.open("rb") as stream:
            return stream_text(stream, file=file)
    except FileNotFoundError:
        raise _input_error(file, "no such file") from None
    except OSError as error:
        raise _input_error(file, f"cannot be read: {error.strerror or error}") from None


def stream_text(stream: BinaryIO, *, file: str, most_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the text of an open file; no more of it is read than is allowed, for a pipe may never end.

    Raises
    ------
    InputError
        It is larger than ``most_bytes``, not UTF-8 or not text.
    """
    content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise _input_error(file, f"is larger than {most_bytes // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _input_error(file, f"is not UTF-8 text (byte {error.start})", line) from None
    if "\0" in text:
        raise _input_error(file, "is binary, not text", text.count("\n", 0, text.index("\0")) + 1)
    return text


def _input_error(file: str, message: str, line: int | None = None) -> InputError:
    return InputError([Fault(path="", message=message, file=file, line=line)])


def parse_document(text: str, *, file: str) -> Document:
    """Return the one document of a text.

    Raises
    ------
    InputError
        It is empty, not YAML or JSON, holds several documents, or its aliases expand without end.
    """
    data = json_data(text)
    if data is None and "&" not in text:
        data = plain_data(text)
    if data is not None:
        return Document(file=file, data=data, text=text)
    documents = parse_documents(text, file=file)
    if not documents:
        raise _input_error(file, "is empty")
    if len(documents) > 1:
        raise _input_error(file, f"holds {len(documents)} documents; one is expected")
    return documents[0]


class _DoubledKeyError(ValueError):
    pass


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _DoubledKeyError
    return found


def json_data(text: str) -> Any:
    """Return a JSON mapping's data; None if it is none or doubles a key (the YAML reader says where)."""
    if not _MAPPING_BEGINNING.match(text):
        return None
    try:
        return json.loads(text, object_pairs_hook=_unique_pairs)
    except (ValueError, RecursionError):
        return None


def parse_documents(text: str, *, file: str, most_characters: int = MAX_NODES_CHARACTERS) -> list[Document]:
    """Return every document of a YAML stream; empty ones are left out.

    Raises
    ------
    InputError
        It is not YAML, it is longer than ``most_characters``, or its aliases expand without end.
    """
    if len(text) > most_characters:
        message = (
            f"is larger than {most_characters // 2**20} MiB and no plain YAML: it has a fault, anchors, tags"
            " or several documents; write it as JSON or as a table"
        )
        raise _json_error(text, file) or _input_error(file, message)
    loader = NodeLoader(text)
    documents = []
    try:
        while loader.check_node():
            node = loader.get_node()
            documents.append(_document(node, text, file))
    except (DepthError, RecursionError):
        raise _input_error(file, f"is nested deeper than {MAX_DEPTH} levels") from None
    except yaml.YAMLError as error:
        raise _json_error(text, file) or _yaml_error(error, text, file) from None
    finally:
        loader.dispose()
    return [document for document in documents if document.data is not None]


def _json_error(text: str, file: str) -> InputError | None:
    """Return what JSON says of a text that is meant as JSON; None if it is not, or has nothing to say.

    A brace alone may begin a YAML mapping in flow style, whose names need no quotes.
    """
    if not (file.endswith(".json") or _JSON_BEGINNING.match(text)):
        return None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return InputError([json_fault(error, file=file)])
    except (ValueError, RecursionError):
        return None
    return None


def json_fault(error: json.JSONDecodeError, *, file: str) -> Fault:
    """Return what is wrong with a text that is not JSON, with its line and column."""
    problem = "the file is cut off" if _is_cut_off(error) else f"is not valid JSON: {error.msg}"
    return Fault(path="", message=f"{problem} (column {error.colno})", file=file, line=error.lineno)


def _is_cut_off(error: json.JSONDecodeError) -> bool:
    text = error.doc.rstrip()
    return error.pos >= len(text) or (not text.endswith(("}", "]")) and error.msg != "Extra data")


def _yaml_error(error: yaml.YAMLError, text: str, file: str) -> InputError:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.partition(chr(error.character))[0].count("\n") + 1
        return _input_error(file, f"is not YAML: U+{error.character:04X}: {error.reason}", line)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    lines = text.splitlines()
    hint = ""
    if mark is not None and mark.line < len(lines) and lines[mark.line].lstrip(" ").startswith("\t"):
        hint = "; YAML indents with spaces, not tabs"
    return _input_error(file, f"is not valid YAML: {problem}{hint}", mark.line + 1 if mark else None)


def _document(node: Any, text: str, file: str) -> Document:
    reader = _Reader(file)
    if "&" in text:  # without an anchor there is no alias
        reader.refuse_expansion(node)
    data = reader.value(node, ())
    return Document(file=file, data=data, text=text, node=node, faults=tuple(reader.faults))


class _Reader:
    """Turns composed nodes into plain data, and notes doubled keys."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []

    def refuse_expansion(self, root: Any) -> None:
        """Refuse documents whose aliases refer to themselves or multiply beyond reason.

        Raises
        ------
        InputError
            Naming the line of the anchor.
        """
        sizes: dict[int, int] = {}
        nodes = 0

        def size(node: Any, open_ids: frozenset[int]) -> int:
            nonlocal nodes
            if isinstance(node, yaml.ScalarNode):
                nodes += 1
                return 1
            if id(node) in open_ids:
                raise _input_error(self.file, "an anchor refers to itself", node.start_mark.line + 1)
            if id(node) not in sizes:
                nodes += 1
                inner = open_ids | {id(node)}
                children = (
                    [part for pair in node.value for part in pair]
                    if isinstance(node, yaml.MappingNode)
                    else node.value
                )
                sizes[id(node)] = 1 + sum(size(child, inner) for child in children)
            return sizes[id(node)]

        total = size(root, frozenset())
        if total > _MAX_ALIAS_VALUES and total > _MAX_ALIAS_FACTOR * nodes:
            message = f"its aliases expand {nodes:,} values to {total:,}; write them out or use modelsFrom"
            raise _input_error(self.file, message, root.start_mark.line + 1)

    def value(self, node: Any, loc: Loc) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, loc)

    def _mapping(self, node: Any, loc: Loc) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(loc, "a field's name has to be text", key)
            elif key.tag == f"{TAG}merge":
                merged.update(self._merged(value, loc))
            elif key.value in found:
                self._note((*loc, key.value), "the field stands twice", key)
            else:
                found[key.value] = self.value(value, (*loc, key.value))
        return {**merged, **found} if merged else found

    def _merged(self, node: Any, loc: Loc) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if isinstance(part, yaml.MappingNode):
                merged.update(self._mapping(part, loc))
            else:
                self._note(loc, "'<<' takes a mapping or a list of mappings", part)
        return merged

    def _scalar(self, node: Any, loc: Loc) -> Any:
        try:
            return scalar_value(node.tag, node.value)
        except ValueError as error:
            self._note(loc, str(error), node)
            return node.value

    def _note(self, loc: Loc, message: str, node: Any) -> None:
        line = node.start_mark.line + 1
        self.faults.append(Fault(path=path_text(loc), message=message, file=self.file, line=line))
