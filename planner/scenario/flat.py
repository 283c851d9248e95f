"""Models written as flat fields of text: columns of a table, annotations of a TrainedModel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from planner.scenario.documents import Loc


@dataclass(frozen=True, slots=True)
class FlatField:
    """A field and where its value goes in a model (or, for ``option``, in one of its footprints)."""

    path: tuple[str, ...]
    kind: Literal["text", "int", "labels"] = "text"
    option: bool = False


MODEL_FIELDS = {
    "name": FlatField(("name",)),
    "backend": FlatField(("backend",)),
    "framework": FlatField(("framework",)),
    "storageUri": FlatField(("storageUri",)),
    "replicas": FlatField(("replicas",), "int"),
    "priority": FlatField(("priority",), "int"),
    "tenant": FlatField(("tenant",)),
    "together": FlatField(("together",)),
    "devicesPerReplica": FlatField(("devicesPerReplica",), "int"),
    "pinShard": FlatField(("pin", "shard")),
    "pinDevice": FlatField(("pin", "device"), "int"),
    "probe": FlatField(("probe",)),
    "transformer": FlatField(("transformer",)),
    "labels": FlatField(("labels",), "labels"),
}

OPTION_FIELDS = {
    "class": FlatField(("class",), option=True),
    "batch": FlatField(("batch",), "int", option=True),
    "instances": FlatField(("instances",), "int", option=True),
    "gpuMemory": FlatField(("gpuMemory", "steady", "p95"), option=True),
    "gpuMemoryP50": FlatField(("gpuMemory", "steady", "p50"), option=True),
    "gpuLoadPeak": FlatField(("gpuMemory", "loadPeak"), option=True),
    "gpuResidual": FlatField(("gpuMemory", "residual"), option=True),
    "gpuTime": FlatField(("gpuTime", "p95"), option=True),
    "gpuTimeP50": FlatField(("gpuTime", "p50"), option=True),
    "cpu": FlatField(("cpu", "p95"), option=True),
    "cpuP50": FlatField(("cpu", "p50"), option=True),
    "memory": FlatField(("memory", "p95"), option=True),
    "memoryP50": FlatField(("memory", "p50"), option=True),
    "disk": FlatField(("disk",), option=True),
    "source": FlatField(("source",), option=True),
}

FLAT_FIELDS = {**MODEL_FIELDS, **OPTION_FIELDS}
EXTRA_PREFIX = "extra."
"""``extra.licenses`` is the named resource ``licenses`` of a footprint."""


class FlatReader:
    """Reads the fields of a model, or of a footprint, from the texts of flat fields.

    Parameters
    ----------
    names
        The flat fields in the order of the texts.
    option
        Whether a footprint is read, not a model.
    """

    def __init__(self, names: Sequence[str], *, option: bool) -> None:
        self._plain: list[tuple[int, str]] = []
        """Texts that are a field as they stand: the position and the field."""
        self._deep: list[tuple[int, FlatField]] = []
        self._extra: list[tuple[int, str]] = []
        self._uncertain: set[str] = set()
        """Fields of which p50 and p95 are apart."""
        for position, name in enumerate(names):
            if name.startswith(EXTRA_PREFIX):
                if option:
                    self._extra.append((position, name.removeprefix(EXTRA_PREFIX)))
                continue
            field = FLAT_FIELDS[name]
            if field.option == option:
                self._add(position, field, alone=f"{name}P50" not in names)

    def _add(self, position: int, field: FlatField, *, alone: bool) -> None:
        if field.path[-1] == "p95" and alone:
            field = replace(field, path=field.path[:-1])
        elif field.path[-1] == "p95":
            self._uncertain.add(field.path[0])
        if field.kind == "text" and len(field.path) == 1:
            self._plain.append((position, field.path[0]))
        else:
            self._deep.append((position, field))

    def read(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the fields nested as in a document; empty ones are absent."""
        result: dict[str, Any] = {
            field: texts[position] for position, field in self._plain if texts[position]
        }
        for position, field in self._deep:
            if texts[position]:
                _put(result, field.path, _value(texts[position], field.kind))
        for position, name in self._extra:
            if texts[position]:
                result.setdefault("extra", {})[name] = texts[position]
        for name in self._uncertain & result.keys():
            result[name] = _collapsed(result[name])
        return result


def nested(cells: Mapping[str, str], *, option: bool) -> dict[str, Any]:
    """Return the fields of a model, or of a footprint, nested as in a document; empty ones are absent."""
    return FlatReader(tuple(cells), option=option).read(tuple(cells.values()))


def _put(target: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = value


def _value(text: str, kind: str) -> Any:
    """Return what the shape expects; where the text is not right the text itself, for its fault."""
    if kind == "int":
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
    if kind == "labels":
        pairs = [pair.split("=", 1) for pair in text.split(";")]
        return (
            {pair[0].strip(): pair[1].strip() for pair in pairs} if all(len(p) == 2 for p in pairs) else text
        )
    return text


def _collapsed(value: Any) -> Any:
    """A p95 without a p50 is one quantity."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"p95"}:
        return value["p95"]
    return {key: _collapsed(inner) for key, inner in value.items()}


def field_at(rest: Loc, names: Iterable[str], *, option: bool) -> str:
    """Return the flat field that stands for a place inside a model or a footprint."""
    if rest[:1] == ("extra",):
        return f"{EXTRA_PREFIX}{rest[1]}" if len(rest) > 1 else "extra"
    candidates = [
        name
        for name, field in FLAT_FIELDS.items()
        if field.option == option and field.path[: len(rest)] == rest[: len(field.path)]
    ]
    given = set(names)
    return next((name for name in candidates if name in given), candidates[0] if candidates else str(rest[0]))
