"""A document and all that it includes, in the order in which later parts win."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import InputError
from planner.scenario.documents import Document, Loc, read_document
from planner.scenario.faults import FaultLog, suggestion
from planner.scenario.scenario_shape import API_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One document of a scenario.

    Parameters
    ----------
    document
        Its text and data.
    kind
        ``Scenario`` or ``Catalog``.
    main
        Whether it is the scenario's own file.
    folder
        Where its relative paths start; None when it came without a file.
    """

    document: Document
    kind: str
    main: bool
    folder: Path | None


def gather(document: Document, *, folder: Path | None, log: FaultLog) -> tuple[Piece, ...]:
    """Return a scenario's documents: every one after those that it includes, the scenario itself last.

    What is wrong is noted in ``log``; a document that cannot be used is left out.
    """
    walk = _Walk(root=folder, log=log)
    trail = () if folder is None else ((folder / Path(document.file).name).resolve(),)
    walk.visit(document, folder=folder, main=True, trail=trail)
    return tuple(walk.pieces)


class _Walk:
    def __init__(self, *, root: Path | None, log: FaultLog) -> None:
        self.root = root
        self.log = log
        self.pieces: list[Piece] = []
        self._seen: set[Path] = set()

    def visit(self, document: Document, *, folder: Path | None, main: bool, trail: tuple[Path, ...]) -> None:
        self.log.order(document)
        self.log.extend(document.faults)
        kind = read_head(document, ("Scenario",) if main else ("Scenario", "Catalog"), self.log)
        if kind is None:
            return
        piece = Piece(document=document, kind=kind, main=main, folder=folder)
        for loc, entry in _includes(document):
            self._include(piece, loc, entry, trail=trail)
        self.pieces.append(piece)

    def _include(self, piece: Piece, loc: Loc, entry: str, *, trail: tuple[Path, ...]) -> None:
        document = piece.document
        path = inner_path(piece, loc, entry, root=self.root, log=self.log)
        if path is None:
            return
        if path in trail:
            names = " -> ".join(item.name for item in (*trail[trail.index(path) :], path))
            self.log.add(document, loc, f"includes itself: {names}")
            return
        if path in self._seen:
            return
        self._seen.add(path)
        try:
            included = read_document(path, file=shown_path(path, self.root))
        except InputError as error:
            self.log.add(document, loc, f"cannot include {entry!r}")
            self.log.extend(error.faults)
            return
        self.visit(included, folder=path.parent, main=False, trail=(*trail, path))


def shown_path(path: Path, root: Path | None) -> str:
    """Return a path below the scenario's folder as the user would write it."""
    if root is None:
        return str(path)
    return str(root / path.relative_to(root.resolve()))


def inner_path(piece: Piece, loc: Loc, entry: str, *, root: Path | None, log: FaultLog) -> Path | None:
    """Return the resolved path of a file that a document names; None, with a fault, if it may not be read.

    Only relative paths that stay inside the scenario's own folder, symbolic links followed, are allowed.
    """
    document = piece.document
    if piece.folder is None or root is None:
        log.add(document, loc, f"{entry!r} cannot be read: the scenario did not come from a file")
        return None
    if Path(entry).is_absolute() or not entry.strip() or "\0" in entry:
        log.add(document, loc, f"{entry!r} is not a relative path inside the scenario's folder")
        return None
    path = (piece.folder / entry).resolve()
    if not path.is_relative_to(root.resolve()):
        log.add(document, loc, f"{entry!r} leads out of the scenario's folder")
        return None
    return path


def _includes(document: Document) -> list[tuple[Loc, str]]:
    """Return what a document includes, as far as it is written well; the shape's check says the rest."""
    spec: Any = document.data.get("spec")
    entries = spec.get("include") if isinstance(spec, dict) else None
    if not isinstance(entries, list):
        return []
    return [
        (("spec", "include", index), entry) for index, entry in enumerate(entries) if isinstance(entry, str)
    ]


def read_head(document: Document, kinds: tuple[str, ...], log: FaultLog) -> str | None:
    """Return a document's kind; None, with a fault, if it is none of ours or of another version."""
    data = document.data
    if not isinstance(data, dict):
        wanted = " or ".join(kinds).lower()
        message = f"is not a {wanted}: expected a mapping with apiVersion and kind, found {_what(data)}"
        log.add(document, (), message)
        return None
    before = len(log)
    version, kind = data.get("apiVersion"), data.get("kind")
    if version != API_VERSION:
        log.add(document, ("apiVersion",), _head_message("apiVersion", version, (API_VERSION,)))
    if kind not in kinds:
        log.add(document, ("kind",), _head_message("kind", kind, kinds))
    return kind if len(log) == before and isinstance(kind, str) else None


def _what(data: object) -> str:
    return "a list" if isinstance(data, list) else f"only {str(data)[:40]!r}"


_OTHER_KINDS = {
    "Plan": "this is a plan, not a scenario; give the scenario that it was made from",
    "Scenario": "this is a scenario, not a plan; `shardpack plan` makes one from it",
    "Catalog": "this is a catalogue; a scenario names it under include",
}


def _head_message(field: str, value: object, expected: tuple[str, ...]) -> str:
    wanted = " or ".join(expected)
    if value is None:
        return f"is required: {field}: {wanted}"
    if str(value) in _OTHER_KINDS:
        return _OTHER_KINDS[str(value)]
    if field == "apiVersion" and str(value).startswith(API_VERSION.split("/")[0]):
        return f"{value!r} is not {wanted}: it is of another version of shardpack"
    hint = suggestion(str(value), expected).split(" (known")[0].split("; known")[0]
    return f"{str(value)[:60]!r} is not {wanted}{hint}"
