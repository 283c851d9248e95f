"""Protobuf's text format to plain data, whatever the message.

Protobuf's own reader needs the message's definition: it cannot pass over a list of messages that it does not
know, as ``input [ {...} ]``, and a configuration of tomorrow has such. Here every field is a list of values:
text, numbers and words as they stand, messages as mappings.
https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

Message = dict[str, list["str | Message"]]
"""A message: the values of each field, in their order."""

MAX_DEPTH = 64
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      |(?P<mark>[{}<>\[\]:,;])
      |(?P<word>[-+]?[A-Za-z0-9_.][-+A-Za-z0-9_./]*)""",
    re.VERBOSE,
)
_CLOSES = {"{": "}", "<": ">"}


class TextProtoError(ValueError):
    """A text that is not in the format.

    Parameters
    ----------
    message
        What is wrong.
    line
        In which line, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_text_proto(text: str) -> Message:
    """Return the message of a text.

    Raises
    ------
    TextProtoError
        It is not in the format, or nested deeper than ``MAX_DEPTH``.
    """
    return _Parser(text).message(None, 0)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._next = next(self._tokens)

    def message(self, end: str | None, depth: int) -> Message:
        """Read fields up to a closing mark, or to the end of the text."""
        if depth > MAX_DEPTH:
            raise self._error(f"is nested deeper than {MAX_DEPTH} levels")
        found: Message = {}
        while not self._is(end):
            name = self._take("word", "a field's name")
            self._skip(":")
            found.setdefault(name, []).extend(self._values(depth))
            self._skip(",", ";")
        self._advance()
        return found

    def _values(self, depth: int) -> list[str | Message]:
        if not self._skip("["):
            return [self._value(depth)]
        found: list[str | Message] = []
        while not self._skip("]"):
            found.append(self._value(depth))
            if not self._skip(",") and not self._is("]"):
                raise self._error("expected ',' or ']'")
        return found

    def _value(self, depth: int) -> str | Message:
        if self._next.kind == "mark" and self._next.text in _CLOSES:
            end = _CLOSES[self._advance().text]
            return self.message(end, depth + 1)
        if self._next.kind != "string":
            return self._take("word", "a value")
        parts = []
        while self._next.kind == "string":  # strings beside each other are one
            parts.append(_unquoted(self._advance().text))
        return "".join(parts)

    # -------------------------------------------------------------------------------------------- tokens

    def _scan(self) -> Iterator[_Token]:
        position = 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None:
                token = _Token("bad", self._text[position], position)
                self._next = token
                raise self._error(f"{token.text!r} does not belong here")
            position = match.end()
            if match.lastgroup != "space":
                yield _Token(match.lastgroup or "", match[0], match.start())
        yield _Token("end", "", len(self._text))

    def _advance(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._next = next(self._tokens)
        return token

    def _is(self, mark: str | None) -> bool:
        """Return whether a mark is next; None is the end of the text."""
        if mark is None:
            return self._next.kind == "end"
        return self._next.kind == "mark" and self._next.text == mark

    def _skip(self, *marks: str) -> bool:
        """Pass over one of some marks, if it is next."""
        if any(self._is(mark) for mark in marks):
            self._advance()
            return True
        return False

    def _take(self, kind: str, what: str) -> str:
        if self._next.kind != kind:
            found = "the end" if self._next.kind == "end" else repr(self._next.text[:40])
            raise self._error(f"expected {what}, found {found}")
        return self._advance().text

    def _error(self, message: str) -> TextProtoError:
        return TextProtoError(message, self._text.count("\n", 0, self._next.start) + 1)


def _unquoted(literal: str) -> str:
    """Return the text of a literal; one with an escape that nobody knows is taken as it stands."""
    try:
        value = ast.literal_eval(literal)
    except (ValueError, SyntaxError):
        return literal[1:-1]
    return value if isinstance(value, str) else literal[1:-1]
