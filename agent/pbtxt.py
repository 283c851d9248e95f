"""Triton's ``config.pbtxt``: find top-level fields, replace the name and the placement, leave the rest alone.

It scans protobuf's text format just far enough to know where top-level fields begin and end (strings,
comments, nested messages and lists), so that everything that it does not replace keeps its bytes.
https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from agent.errors import PinError

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      |(?P<open>[{<\[])|(?P<close>[}>\]])
      |(?P<mark>[:,;])
      |(?P<word>[A-Za-z0-9_.+\-/]+)""",
    re.VERBOSE,
)
_TEXT_FIELD = re.compile(r"""\w+\s*:\s*(["'])([^"'\\\n]*)\1\s*[,;]?""")
_KEY = re.compile(r"""\bkey\s*:\s*(["'])([^"'\\\n]*)\1""")
_STRING_VALUE = re.compile(r"""\bstring_value\s*:\s*(["'])([^"'\\\n]*)\1""")
_CLOSES = {"{": "}", "<": ">", "[": "]"}
# The framework of a document where it names a Triton backend, or where only one backend reads its files.
# Triton's model configuration, "Name, Platform and Backend".
_BACKEND_OF_FRAMEWORK = {
    "onnx": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "pytorch": "pytorch",
    "python": "python",
    "openvino": "openvino",
    "fil": "fil",
    "dali": "dali",
}


class _Token(NamedTuple):
    # Not a dataclass: a config has some forty, and every load of every model reads one.
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Field:
    """A top-level field: ``text[start:end]`` is its name, its value and the separator after it."""

    name: str
    start: int
    end: int


def top_level_fields(text: str) -> tuple[Field, ...]:
    """Return the top-level fields in order.

    Raises
    ------
    PinError
        The text is not protobuf text format.
    """
    tokens = list(_tokens(text))
    fields: list[Field] = []
    position = 0
    while position < len(tokens):
        end = _after_field(tokens, position)
        fields.append(Field(tokens[position].text, tokens[position].start, tokens[end - 1].end))
        position = end
    return tuple(fields)


@dataclass(frozen=True, slots=True)
class Config:
    """A config whose top-level fields are known.

    Parameters
    ----------
    text
        As it was written.
    fields
        Where they stand in it.
    """

    text: str
    fields: tuple[Field, ...]

    @property
    def is_ensemble(self) -> bool:
        """Whether it is a graph of other models, which runs nowhere itself."""
        return any(field.name == "ensemble_scheduling" for field in self.fields)

    def value(self, name: str) -> str | None:
        """Return the text of a field that has one, as ``backend``; None where it is not there."""
        found = None
        for field in self.fields:
            match = _TEXT_FIELD.fullmatch(self.text[field.start : field.end]) if field.name == name else None
            found = match[2] if match else found
        return found

    def parameter(self, key: str) -> str | None:
        """Return the text of a parameter; None where it is not there or stands in a list with others."""
        found = None
        for field in self._parameters(key):
            match = _STRING_VALUE.search(self.text, field.start, field.end)
            found = match[2] if match else found
        return found

    def _parameters(self, key: str) -> Iterator[Field]:
        for field in self.fields:
            keys = _KEY.findall(self.text, field.start, field.end) if field.name == "parameters" else ()
            if any(name == key for _, name in keys):
                if len(keys) > 1:
                    raise PinError("BadConfig", f"config.pbtxt: write {key} in a parameters field of its own")
                yield field

    def with_placement(
        self, *, name: str, instance_group: str | None, parameters: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """Return it with this name and, unless None, this ``instance_group`` in place of its own.

        An ensemble gets none: Triton refuses one that has a group.

        Parameters
        ----------
        name, instance_group
            What it gets.
        parameters
            Further ones, in place of those of the same key.

        Raises
        ------
        PinError
            A parameter that is to be replaced stands in a list with others.
        """
        instance_group = None if self.is_ensemble else instance_group
        replaced = {"name"} if instance_group is None else {"name", "instance_group"}
        dropped = {field for key in parameters for field in self._parameters(key)}
        kept: list[str] = []
        position = 0
        for field in self.fields:
            if field.name in replaced or field in dropped:
                kept.append(self.text[position : field.start])
                position = field.end
        kept.append(self.text[position:])
        head = [f'name: "{name}"', *([] if instance_group is None else [instance_group])]
        head += [
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
            for key, value in parameters.items()
        ]
        return "\n".join(head) + "\n" + "".join(kept).lstrip("\n")


def read_config(text: str) -> Config:
    """Return a config with its fields.

    Raises
    ------
    PinError
        The text is not protobuf text format.
    """
    return Config(text, top_level_fields(text))


def minimal_config(framework: str) -> str:
    """Return the config of a model that brought none; the server completes it from the model's files.

    Raises
    ------
    PinError
        The framework does not tell the backend.
    """
    backend = _BACKEND_OF_FRAMEWORK.get(framework.lower())
    if backend is None:
        raise PinError(
            "NoConfig", f"the model has no config.pbtxt and framework {framework!r} does not tell the backend"
        )
    return f'backend: "{backend}"\n'


# ------------------------------------------------------------------------------------------------ small steps


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _fault(text, position, f"{text[position]!r} does not belong here")
        if match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), position, match.end())
        position = match.end()


def _after_field(tokens: list[_Token], position: int) -> int:
    """Return the position after the field that begins at ``position``."""
    field = tokens[position]
    if field.kind != "word":
        raise _broken(field, "a field's name should stand here")
    position += 1
    colon = position < len(tokens) and tokens[position].text == ":"
    position += colon
    if position == len(tokens):
        raise _broken(field, "the field has no value")
    value = tokens[position]
    if value.kind == "open":
        position = _after_bracket(tokens, position)
    elif colon and value.kind in ("word", "string"):
        position += 1
        while value.kind == "string" and position < len(tokens) and tokens[position].kind == "string":
            position += 1  # adjacent strings are one value
    else:
        raise _broken(field, "the field has no value")
    if position < len(tokens) and tokens[position].text in (",", ";"):
        position += 1
    return position


def _after_bracket(tokens: list[_Token], position: int) -> int:
    expected: list[str] = []
    for index in range(position, len(tokens)):
        token = tokens[index]
        if token.kind == "open":
            expected.append(_CLOSES[token.text])
        elif token.kind == "close":
            if token.text != expected.pop():
                raise _broken(token, f"{token.text!r} closes nothing")
            if not expected:
                return index + 1
    raise _broken(tokens[position], f"{tokens[position].text!r} is never closed")


def _broken(token: _Token, message: str) -> PinError:
    return PinError("BadConfig", f"config.pbtxt, character {token.start}, {token.text!r}: {message}")


def _fault(text: str, position: int, message: str) -> PinError:
    line = text.count("\n", 0, position) + 1
    return PinError("BadConfig", f"config.pbtxt, line {line}: {message}")
