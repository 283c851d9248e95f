"""Models from a CSV table.

The first line names the columns, in any order: those of ``flat.FLAT_FIELDS``. ``name``, ``backend``,
``storageUri`` and ``class`` are required. A row is one footprint of a model; a model with several has several
rows, and only the first has to fill in the columns of the model itself. An empty cell is an absent field.
Quantities are written as in a scenario (``600Mi``, ``35m``), labels as ``team=news;lang=en``, further named
resources as columns ``extra.<resource>``; a column ``<field>P50`` beside ``<field>`` gives the median.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.domain.model import Model
from planner.errors import Fault, InputError
from planner.scenario.documents import Document, Loc, read_text
from planner.scenario.draft import Located
from planner.scenario.faults import FaultLog, shape_faults, suggestion
from planner.scenario.flat import EXTRA_PREFIX, FLAT_FIELDS, MODEL_FIELDS, FlatReader, field_at
from planner.scenario.resolve import model_of, option_of
from planner.scenario.scenario_shape import FootprintShape, ModelShape

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""A line with its end, as CSV has them: no other character ends one."""

Row = tuple[str, ...]
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
    rows = csv.reader((line[0] for line in _LINE.finditer(text)), strict=True)
    columns, faults = _columns(rows, file)
    document = TableDocument(file=file, columns=columns)
    log.order(document)
    if faults:
        log.extend(faults)
        return []
    return _Table(document, log).models(rows)


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


class _Table:
    """Models as the rows come: rows that follow each other make a model, later ones of it are added."""

    def __init__(self, document: TableDocument, log: FaultLog) -> None:
        columns = document.columns
        self.document, self.log = document, log
        self.name = columns.index("name")
        self.own = [index for index, column in enumerate(columns) if column in MODEL_FIELDS]
        self.model = FlatReader(columns, option=False)
        self.option = FlatReader(columns, option=True)
        self.positions: dict[str, int] = {}
        self.first_rows: list[Row] = []
        self.found: list[Model | None] = []
        """The models by their positions; None where one has a fault."""

    def models(self, rows: Any) -> list[Located[Model]]:
        """Return the sound models."""
        for name, run in groupby(self._rows(rows), key=lambda item: item[1][self.name]):
            if name:
                self._read(name, list(run))
                continue
            for row in run:
                self._read(name, [row])
        document = self.document
        return [
            Located(model, document, (position,))
            for position, model in enumerate(self.found)
            if model is not None
        ]

    def _rows(self, rows: Any) -> Iterator[tuple[int, Row]]:
        """Yield the line and the cells of every row that has as many as there are columns."""
        columns = self.document.columns
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                self._note(f"is not CSV: {error}", rows.line_num)
                return
            if row is None:
                return
            cells = tuple([cell.strip() for cell in row])
            if not any(cells):
                continue
            if len(cells) != len(columns):
                self._note(
                    f"has {len(cells)} cells; the first line names {len(columns)} columns", rows.line_num
                )
                continue
            yield rows.line_num, cells

    def _note(self, message: str, line: int) -> None:
        self.log.extend([Fault(path="", message=message, file=self.document.file, line=line)])

    def _read(self, name: str, run: list[tuple[int, Row]]) -> None:
        """Read rows of one model that follow each other."""
        known = self.positions.get(name) if name else None
        position = len(self.found) if known is None else known
        if known is None:
            self.positions[name] = position
            self.first_rows.append(run[0][1])
            self.document.lines.append([])
        lines = self.document.lines[position]
        first_option = len(lines)
        lines.extend(line for line, _ in run)
        for line, cells in run[known is None :]:
            self.log.extend(self._contradictions(self.first_rows[position], cells, line))
        options = [self.option.read(cells) for _, cells in run]
        if known is None:
            self.found.append(self._new(position, options))
        else:
            self.found[position] = self._longer(position, options, first_option)

    def _contradictions(self, first: Row, cells: Row, line: int) -> Iterator[Fault]:
        """A further row of a model may repeat the model's own columns, not change them."""
        if all(not cells[index] or cells[index] == first[index] for index in self.own):
            return
        before, again = self.model.read(first), self.model.read(cells)
        for name, field in MODEL_FIELDS.items():
            key = field.path[0]
            if key in again and again[key] != before.get(key):
                message = f"differs from the first row of model {cells[self.name]!r}"
                yield Fault(path=name, message=message, file=self.document.file, line=line)

    def _new(self, position: int, options: list[dict[str, Any]]) -> Model | None:
        data = {**self.model.read(self.first_rows[position]), "footprints": options}
        try:
            return model_of(ModelShape.model_validate(data))
        except ValidationError as error:
            for loc, message in shape_faults(error, ModelShape):
                self.log.add(self.document, (position, *loc), message)
            return None

    def _longer(self, position: int, options: list[dict[str, Any]], first_option: int) -> Model | None:
        """Return a model with further footprints."""
        model, more = self.found[position], []
        for index, data in enumerate(options, start=first_option):
            try:
                more.append(option_of(FootprintShape.model_validate(data)))
            except ValidationError as error:
                model = None
                for loc, message in shape_faults(error, FootprintShape):
                    self.log.add(self.document, (position, "footprints", index, *loc), message)
        return model and replace(model, footprints=(*model.footprints, *more))
