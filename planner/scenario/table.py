"""Models from a CSV table.

The first line names the columns, in any order: those of ``flat.FLAT_FIELDS``. ``name``, ``backend``,
``storageUri`` and ``class`` are required. A row is one footprint of a model; a model with several has several
rows, and only the first has to fill in the columns of the model itself. An empty cell is an absent field.
Quantities are written as in a scenario (``600Mi``, ``35m``), labels as ``team=news;lang=en``, further named
resources as columns ``extra.<resource>``; a column ``<field>P50`` beside ``<field>`` gives the median.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.domain.model import Model
from planner.errors import Fault, InputError
from planner.scenario.documents import Document, Loc, read_text
from planner.scenario.draft import Located
from planner.scenario.faults import FaultLog, shape_faults, suggestion
from planner.scenario.flat import EXTRA_PREFIX, FLAT_FIELDS, MODEL_FIELDS, field_at, nested
from planner.scenario.resolve import model_of
from planner.scenario.scenario_shape import ModelShape

_REQUIRED = ("name", "backend", "storageUri", "class")


class TableDocument(Document):
    """A table: a place is the position of a model, and its faults name a column and a line."""

    def __init__(self, *, file: str, columns: tuple[str, ...]) -> None:
        super().__init__(file=file, data=None, text="")
        self.columns = columns
        self.lines: list[list[int]] = []
        """For each model the line of each of its rows."""

    def fault(self, loc: Loc, message: str) -> Fault:
        """Return a fault at a place of this table."""
        match loc:
            case (int(model), "footprints", int(row), *rest):
                line = self.lines[model][row]
                column = field_at(tuple(rest), self.columns, option=True) if rest else ""
            case (int(model), *rest):
                line = self.lines[model][0]
                column = field_at(tuple(rest), self.columns, option=False) if rest else ""
            case _:
                line, column = 1, ""
        if column == "labels":
            message += "; write labels as team=news;lang=en"
        return Fault(path=column, message=message, file=self.file, line=line)


def read_table(path: Path, *, file: str, log: FaultLog) -> list[Located[Model]]:
    """Return the models of a CSV file; what is wrong is noted in ``log`` with its line and column."""
    try:
        text = read_text(path, file=file)
    except InputError as error:
        log.extend(error.faults)
        return []
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns, faults = _columns(rows, file)
    document = TableDocument(file=file, columns=columns)
    log.order(document)
    if faults:
        log.extend(faults)
        return []
    models, faults = _models(rows, document)
    log.extend(faults)
    return list(_shaped(models, document, log))


def _columns(rows: Any, file: str) -> tuple[tuple[str, ...], list[Fault]]:
    try:
        header = next(rows, None)
    except csv.Error as error:
        return (), [Fault(path="", message=f"is not CSV: {error}", file=file, line=1)]
    if not header:
        return (), [
            Fault(path="", message="is empty: the first line has to name the columns", file=file, line=1)
        ]
    columns = tuple(name.strip() for name in header)
    messages = []
    if len(columns) == 1:
        separator = next((item for item in ";\t|" if item in columns[0]), None)
        if separator is not None:
            message = f"the cells are separated by {separator!r}; write a comma"
            return columns, [Fault(path="", message=message, file=file, line=1)]
    for position, name in enumerate(columns):
        if not name:
            messages.append(("", f"column {position + 1} has no name"))
        elif name not in FLAT_FIELDS and not name.startswith(EXTRA_PREFIX):
            messages.append((name, f"unknown column {name!r}{suggestion(name, FLAT_FIELDS)}"))
        elif name in columns[:position]:
            messages.append((name, "the column stands twice"))
    messages.extend((name, "the column is required") for name in _REQUIRED if name not in columns)
    return columns, [Fault(path=name, message=text, file=file, line=1) for name, text in messages]


def _models(rows: Any, document: TableDocument) -> tuple[list[dict[str, Any]], list[Fault]]:
    """Return the models as the document form would have them."""
    models: list[dict[str, Any]] = []
    positions: dict[str, int] = {}
    faults: list[Fault] = []
    for line, cells in _cells(rows, document, faults):
        name = cells["name"]
        position = positions.get(name) if name else None
        if position is None:
            position = positions[name] = len(models)
            models.append({**nested(cells, option=False), "footprints": []})
            document.lines.append([])
        else:
            faults.extend(_contradictions(models[position], cells, document, line))
        models[position]["footprints"].append(nested(cells, option=True))
        document.lines[position].append(line)
    return models, faults


def _cells(rows: Any, document: TableDocument, faults: list[Fault]) -> Iterator[tuple[int, dict[str, str]]]:
    columns = document.columns
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            faults.append(
                Fault(path="", message=f"is not CSV: {error}", file=document.file, line=rows.line_num)
            )
            return
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(columns):
            message = f"has {len(row)} cells; the first line names {len(columns)} columns"
            faults.append(Fault(path="", message=message, file=document.file, line=rows.line_num))
            continue
        yield rows.line_num, {name: cell.strip() for name, cell in zip(columns, row, strict=True)}


def _contradictions(
    model: dict[str, Any], cells: dict[str, str], document: TableDocument, line: int
) -> Iterator[Fault]:
    """A further row of a model may repeat the model's own columns, not change them."""
    again = nested(cells, option=False)
    for name, field in MODEL_FIELDS.items():
        key = field.path[0]
        if key in again and again[key] != model.get(key):
            message = f"differs from the first row of model {cells['name']!r}"
            yield Fault(path=name, message=message, file=document.file, line=line)


def _shaped(models: list[dict[str, Any]], document: TableDocument, log: FaultLog) -> Iterator[Located[Model]]:
    for position, data in enumerate(models):
        try:
            shape = ModelShape.model_validate(data)
        except ValidationError as error:
            for loc, message in shape_faults(error, ModelShape):
                log.add(document, (position, *loc), message)
        else:
            yield Located(model_of(shape), document, (position,))
