"""Models written as flat fields of text: columns of a table, annotations of a TrainedModel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


def nested(cells: Mapping[str, str], *, option: bool) -> dict[str, Any]:
    """Return the fields of a model, or of a footprint, nested as in a document; empty ones are absent."""
    result: dict[str, Any] = {}
    for name, text in cells.items():
        if text == "":
            continue
        if name.startswith(EXTRA_PREFIX):
            if option:
                result.setdefault("extra", {})[name.removeprefix(EXTRA_PREFIX)] = text
            continue
        field = FLAT_FIELDS[name]
        if field.option == option:
            _put(result, field.path, _value(text, field.kind))
    return {key: _collapsed(value) for key, value in result.items()}


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
