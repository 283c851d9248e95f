"""Data to shapes; what has faults is left out, so that the rest can still be checked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from planner.domain.model import Model
from planner.scenario.documents import Document, Loc
from planner.scenario.faults import FaultLog, shape_faults

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Generic[S]):
    """A shape that was read.

    Parameters
    ----------
    shape
        What is sound.
    data
        The data it was read from, without what has faults.
    positions
        For each list of ``spec`` that lost items: the original positions of those that are left.
    sound
        Whether nothing was left out.
    models
        The models of ``spec``, where they were read apart from the shape; None where they are in it.
    """

    shape: S
    data: Any
    positions: dict[str, list[int]]
    sound: bool
    models: Sequence[Model] | None = None

    def loc(self, field: str, index: int) -> Loc:
        """Return the place of an item of a list of ``spec`` in the document."""
        kept = self.positions.get(field)
        return ("spec", field, kept[index] if kept is not None else index)


def read_shape(document: Document, data: Any, *, shape: type[S], log: FaultLog) -> Read[S]:
    """Return the sound part of a document; every fault of the rest is noted.

    Raises
    ------
    InputError
        No part of the document is sound enough to go on.
    """
    try:
        return Read(shape=shape.model_validate(data), data=data, positions={}, sound=True)
    except ValidationError as error:
        found = shape_faults(error, shape)
    for loc, message in found:
        log.add(document, loc, message)
    locs = [loc for loc, _ in found]
    for pruned, positions in (_without_fields(data, locs), _without_items(data, locs)):
        try:
            sound_part = shape.model_validate(pruned)
        except ValidationError:
            continue
        return Read(shape=sound_part, data=pruned, positions=positions, sound=False)
    log.raise_if_any()
    raise AssertionError("a document without its faulty parts still has faults")


Pruned = tuple[Any, dict[str, list[int]]]
"""Data without some of its parts, and for each list that lost items the positions of those that are left."""


def _without_fields(data: Any, locs: Iterable[Loc]) -> Pruned:
    """Return data without the fields that have faults, so that their defaults let the rest be checked.

    Items that lack a required field are left out as a whole.
    """
    kept = copy.deepcopy(data)
    absent = [loc for loc in locs if not _delete(kept, loc)]
    return _without_items(kept, absent)


def _delete(data: Any, loc: Loc) -> bool:
    """Delete a field of a mapping in place; return whether it stood there."""
    for part in loc[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return True  # a part around it was deleted already
    if not isinstance(data, dict) or loc[-1] not in data:
        return False
    del data[loc[-1]]
    return True


_UNNAMED = {"name": "unnamed"}


def _without_items(data: Any, locs: Iterable[Loc]) -> Pruned:
    """Return data without the items of ``spec``'s lists, or else the whole fields, that have faults."""
    kept = {**data, "spec": dict(data["spec"]) if isinstance(data.get("spec"), dict) else {}}
    dropped: dict[str, set[int]] = {}
    for loc in locs:
        match loc:
            case ("spec", str(field), int(index), *_):
                dropped.setdefault(field, set()).add(index)
            case ("spec", str(field), *_):
                kept["spec"].pop(field, None)
            case ("metadata", *_):
                kept["metadata"] = _UNNAMED
            case (str(field), *_) if field != "spec":
                kept.pop(field, None)
            case _:
                pass
    positions = {}
    for field, indices in dropped.items():
        items = kept["spec"].get(field)
        if isinstance(items, list):
            positions[field] = [index for index in range(len(items)) if index not in indices]
            kept["spec"][field] = [items[index] for index in positions[field]]
    return kept, positions
