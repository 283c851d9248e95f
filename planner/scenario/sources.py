"""Where models come from when they are not written out: ``modelsFrom``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from planner.domain.model import Model
from planner.scenario.catalogue import Catalogue
from planner.scenario.documents import Loc
from planner.scenario.draft import Located
from planner.scenario.faults import FaultLog
from planner.scenario.gather import Piece, inner_path, shown_path
from planner.scenario.generate import DistributionError, Generator
from planner.scenario.models_from_shape import GenerateShape, ModelsFromShape
from planner.scenario.table import read_table
from planner.scenario.trained_models import read_trained_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an entry of ``modelsFrom`` stands, and what its paths and classes mean."""

    piece: Piece
    loc: Loc
    root: Path | None
    catalogue: Catalogue


def models_from(source: ModelsFromShape, origin: Origin, log: FaultLog) -> Iterator[Located[Model]]:
    """Yield the models of one entry of ``modelsFrom``; what is wrong with it is noted in ``log``."""
    given = [name for name in ("table", "trained_models", "generate") if getattr(source, name) is not None]
    if len(given) != 1:
        message = "expected exactly one of table, trainedModels and generate"
        log.add(origin.piece.document, origin.loc, message)
    elif source.table is not None:
        yield from _from_table(source.table, origin, log)
    elif source.trained_models is not None:
        yield from _from_folder(source.trained_models, origin, log)
    elif source.generate is not None:
        yield from _generated(source.generate, origin, log)


def _path(entry: str, field: str, origin: Origin, log: FaultLog) -> Path | None:
    """Return the path of a file or folder that an entry names; None, with a fault, if it is not there."""
    loc = (*origin.loc, field)
    path = inner_path(origin.piece, loc, entry, root=origin.root, log=log)
    if path is not None and not path.exists():
        what = "file" if field == "table" else "folder"
        log.add(origin.piece.document, loc, f"there is no {what} {shown_path(path, origin.root)!r}")
        return None
    return path


def _from_table(entry: str, origin: Origin, log: FaultLog) -> Iterator[Located[Model]]:
    path = _path(entry, "table", origin, log)
    if path is not None:
        yield from read_table(path, file=shown_path(path, origin.root), log=log)


def _from_folder(entry: str, origin: Origin, log: FaultLog) -> Iterator[Located[Model]]:
    path = _path(entry, "trainedModels", origin, log)
    if path is not None and origin.root is not None:
        file = shown_path(path, origin.root)
        yield from read_trained_models(path, root=origin.root, file=file, log=log)


def _generated(shape: GenerateShape, origin: Origin, log: FaultLog) -> Iterator[Located[Model]]:
    document, loc = origin.piece.document, (*origin.loc, "generate")
    before = len(log)
    for field, pattern, what in (
        ("replicas", r"[1-9][0-9]{0,3}|10000", "a number of replicas from 1 to 10000"),
        ("priorities", r"-?[0-9]{1,9}", "a whole number"),
    ):
        for key in getattr(shape, field):
            if not re.fullmatch(pattern, key):
                log.add(document, (*loc, field, key), f"{key!r} is not {what}")
    kinds = {name: item.kind for name, item in origin.catalogue.device_classes.items()}
    try:
        generator = Generator(shape, kinds=kinds)
    except DistributionError as error:
        log.add(document, (*loc, *error.field.split(".")), str(error))
        return
    if len(log) == before:
        for model in generator.models():
            yield Located(model, document, loc)
