"""Collecting what is wrong with documents, and saying it so that a stranger understands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from planner.errors import Fault, InputError
from planner.scenario.documents import Document, Loc
from planner.scenario.shapes import kind_of

_LONGEST = 60
_SHORT = 14
"""Lists of known names up to this long are shown in full."""

_INSTEAD = {
    "tritonRepository": "`shardpack import triton` makes a scenario of one, to include",
}
"""What to write instead of fields that other versions have or people expect."""


class FaultLog:
    """Every fault found so far."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int, int, Fault]] = []
        self._files: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, document: Document, loc: Loc, message: str) -> None:
        """Note a fault at a place of a document."""
        self.extend([document.fault(loc, message)])

    def extend(self, faults: Iterable[Fault]) -> None:
        """Note faults whose places are known already."""
        for fault in faults:
            order = self._files.setdefault(fault.file or "", len(self._files))
            self._found.append((order, fault.line or 0, len(self._found), fault))

    def order(self, document: Document) -> None:
        """Fix a document's rank among the files: faults are reported in the order in which files are read."""
        self._files.setdefault(document.file, len(self._files))

    def sorted(self) -> tuple[Fault, ...]:
        """Return the faults in document order, each once."""
        return tuple(dict.fromkeys(fault for *_, fault in sorted(self._found, key=lambda item: item[:3])))

    def raise_if_any(self) -> None:
        """Raise everything that was found at once.

        Raises
        ------
        InputError
            There is a fault.
        """
        if self._found:
            raise InputError(self.sorted())


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` and, when they are few, the known names; empty without either."""
    names = sorted(known)
    lowered = {item.lower(): item for item in names}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    text = f"; did you mean {lowered[close[0]]!r}?" if close else ""
    if names and len(names) <= _SHORT:
        text += f" (known: {', '.join(names)})" if close else f"; known: {', '.join(names)}"
    return text


def one_of(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a reference to nothing."""
    return f"there is no {what} {name!r}{suggestion(name, known)}"


# ------------------------------------------------------------------------------------- faults of the shape


def shape_faults(error: ValidationError, shape: Any) -> list[tuple[Loc, str]]:
    """Return the place and the sentence of everything that does not have the shape it should."""
    return [_sentence(entry, shape) for entry in error.errors(include_url=False)]


def _sentence(entry: Any, shape: Any) -> tuple[Loc, str]:
    loc: Loc = tuple(part for part in entry["loc"] if part != "[key]")
    context = entry.get("ctx", {})
    if "at" in context:  # a part of a value that is read as a whole
        loc = (*loc, *context["at"].split("."))
    match entry["type"]:
        case "extra_forbidden":
            message = unknown_field(str(loc[-1]), fields_at(shape, loc[:-1]))
        case "part_unknown":
            message = unknown_field(str(loc[-1]), context["known"])
        case "part":
            message = context["message"]
        case "value_error":
            message = str(context["error"])
        case "literal_error":
            message = _not_a_choice(entry["input"], context["expected"])
        case kind:
            general = _GENERAL.get(kind)
            message = general(kind_of(entry.get("input")), context) if general else entry["msg"]
    return loc, message


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Return the sentence for a field that does not exist."""
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return f"unknown field {shown!r}" + (
        f"; {_INSTEAD[name]}" if name in _INSTEAD else suggestion(name[:_LONGEST], known)
    )


def _not_a_choice(value: Any, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    if isinstance(value, str):
        return f"{value[:60]!r} is not one of {', '.join(choices)}{_closest(value, choices)}"
    return f"expected one of {', '.join(choices)}, found {kind_of(value)}"


def _closest(value: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


_GENERAL: dict[str, Any] = {
    "missing": lambda *_: "is required",
    "int_type": lambda found, _: f"expected a whole number, found {found}",
    "int_from_float": lambda found, _: f"expected a whole number, found {found}",
    "float_type": lambda found, _: f"expected a number, found {found}",
    "finite_number": lambda found, _: f"expected a finite number, found {found}",
    "bool_type": lambda found, _: f"expected true or false, found {found}",
    "string_type": lambda found, _: f"expected text, found {found}; put it in quotes if it is meant as text",
    "list_type": lambda found, _: f"expected a list, found {found}",
    "dict_type": lambda found, _: f"expected a mapping, found {found}",
    "model_type": lambda found, _: f"expected a mapping, found {found}",
    "model_attributes_type": lambda found, _: f"expected a mapping, found {found}",
    "greater_than_equal": lambda found, ctx: f"expected at least {ctx['ge']}, found {found}",
    "less_than_equal": lambda found, ctx: f"expected at most {ctx['le']}, found {found}",
    "greater_than": lambda found, ctx: f"expected more than {ctx['gt']}, found {found}",
    "less_than": lambda found, ctx: f"expected less than {ctx['lt']}, found {found}",
    "too_short": lambda _, ctx: (
        f"expected at least {ctx['min_length']} of them, found {ctx['actual_length']}"
    ),
    "string_pattern_mismatch": lambda found, ctx: f"expected text like {ctx['pattern']}, found {found}",
    "string_too_short": lambda _, ctx: f"expected at least {ctx['min_length']} characters",
    "string_too_long": lambda _, ctx: f"expected at most {ctx['max_length']} characters",
}


def fields_at(shape: Any, loc: Loc) -> tuple[str, ...]:
    """Return the fields that a document may have at a place."""
    for part in loc:
        shape = _inner(shape)
        if isinstance(part, int):
            shape = get_args(shape)[0]
        elif isinstance(shape, type) and issubclass(shape, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in shape.model_fields.items()}
            shape = fields[part]
        else:
            shape = get_args(shape)[1]
    shape = _inner(shape)
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return tuple(field.alias or name for name, field in shape.model_fields.items())
    return ()


def _inner(annotation: Any) -> Any:
    """Strip ``Annotated`` and ``| None``."""
    while True:
        arguments = get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            annotation = arguments[0]
        elif type(None) in arguments and get_origin(annotation) not in (list, dict):
            annotation = next(item for item in arguments if item is not type(None))
        else:
            return annotation
