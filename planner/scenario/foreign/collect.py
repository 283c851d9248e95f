"""What the readers share: a model with its faults where they stand, and what was left behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from planner.domain.model import Model
from planner.errors import Fault
from planner.scenario.documents import Document, Loc, path_text
from planner.scenario.faults import FaultLog, shape_faults
from planner.scenario.resolve import model_of
from planner.scenario.scenario_shape import ModelShape, ShardTypeShape

_NOT_OF_A_NAME = re.compile(r"[^a-z0-9-]+")
LABEL_NAME = "imported-name"
"""The label of a model whose name had to be changed: what it was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller says where the files say nothing.

    Parameters
    ----------
    memory
        Host memory of a model that states none, as a quantity; None leaves it away.
    storage
        Where files are, by ModelMesh's storage key; under ``""`` the folder that holds a Triton repository's
        models.
    backend
        What runs the models of lists that do not say so; None where lists say it.
    """

    memory: str | None = None
    storage: Mapping[str, str] = field(default_factory=dict)
    backend: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was read.

    Parameters
    ----------
    models
        In the order in which they were found.
    shard_types
        As in ``spec.shardTypes``.
    notes
        What was not carried over, in the order in which it was found, each once.
    """

    models: tuple[Model, ...]
    shard_types: tuple[dict[str, Any], ...]
    notes: tuple[Fault, ...]


class TextDocument(Document):
    """A document that is neither YAML nor JSON: its faults name a place and no line."""

    def __init__(self, file: str) -> None:
        super().__init__(file=file, data=None, text="")

    def fault(self, loc: Loc, message: str) -> Fault:
        """Return a fault at a place of this document."""
        return Fault(path=path_text(loc), message=message, file=self.file)


class Collector:
    """Gathers what a reader finds.

    Parameters
    ----------
    given
        What the caller says where the files say nothing.
    """

    def __init__(self, given: Given) -> None:
        self.given = given
        self.log = FaultLog()
        self._models: dict[str, Model] = {}
        self._from: dict[str, tuple[Document, Loc]] = {}
        self._shard_types: dict[str, dict[str, Any]] = {}
        self._notes: dict[Fault, None] = {}
        self._left: dict[str, list[Document]] = {}

    def note(self, document: Document, loc: Loc, message: str) -> None:
        """Tell something that is not carried over."""
        self._notes[document.fault(loc, message)] = None

    def note_fields(self, document: Document, loc: Loc, fields: Mapping[str, str]) -> None:
        """Tell those fields of a mapping that are there and not carried over, with what becomes of them."""
        found = _at(document.data, loc)
        for name, message in fields.items():
            if isinstance(found, dict) and found.get(name) not in (None, "", [], {}, False):
                self.note(document, (*loc, name), message)

    def leave(self, document: Document) -> None:
        """Count an object of a kind that is not taken; they are told by kind, not one by one."""
        self._left.setdefault(str(document.data.get("kind")), []).append(document)

    def add(self, data: Mapping[str, Any], document: Document, places: Mapping[str, Loc]) -> None:
        """Add a model, written as in a scenario.

        Parameters
        ----------
        data
            The model; its name may be one that a scenario does not take, and is then changed and told.
        document
            Where it was found.
        places
            For fields of the model and of its footprints: where they stand in the document.
        """
        name = self._name(data.get("name"), document, places.get("name", ()))
        labels = dict(data.get("labels") or {})
        if name != data.get("name") and isinstance(data.get("name"), str):
            labels[LABEL_NAME] = data["name"]
        try:
            model = model_of(ModelShape.model_validate({**data, "name": name, "labels": labels}))
        except ValidationError as error:
            for loc, message in shape_faults(error, ModelShape):
                self.log.add(document, _place(loc, places), message)
            return
        self.add_model(model, document, places.get("name", ()))

    def add_model(self, model: Model, document: Document, loc: Loc) -> None:
        """Add a model that was read already; its name must be new."""
        if model.name in self._models:
            first, place = self._from[model.name]
            there = first.fault(place, "")  # its line is looked for only now: that takes time in large files
            where = ":".join(str(part) for part in (there.file, there.line) if part is not None)
            self.log.add(document, loc, f"{model.name!r} is already the name of a model ({where})")
            return
        self._models[model.name] = model
        self._from[model.name] = (document, loc)

    def add_shard_type(self, data: dict[str, Any], document: Document, places: Mapping[str, Loc]) -> None:
        """Add a shard type, written as in a scenario; the first of a name stays."""
        try:
            ShardTypeShape.model_validate(data)
        except ValidationError as error:
            for loc, message in shape_faults(error, ShardTypeShape):
                self.log.add(document, _place(loc, places), message)
            return
        self._shard_types.setdefault(data["name"], data)

    def finish(self) -> Imported:
        """Return what was gathered.

        Raises
        ------
        InputError
            With every fault that was noted.
        """
        self.log.raise_if_any()
        for kind, documents in sorted(self._left.items()):
            more = f" (and {len(documents) - 1:,} more of this kind)" if len(documents) > 1 else ""
            self.note(documents[0], ("kind",), f"{kind} is not carried over{more}")
        return Imported(
            models=tuple(self._models.values()),
            shard_types=tuple(self._shard_types.values()),
            notes=tuple(self._notes),
        )

    def memory(self, stated: Any) -> dict[str, Any]:
        """Return the host memory of a footprint: what is stated, else what the caller gave."""
        found = stated if stated is not None else self.given.memory
        return {} if found is None else {"memory": found}

    def _name(self, name: Any, document: Document, loc: Loc) -> Any:
        """Return a name that a scenario takes; one that had to be changed is told."""
        if not isinstance(name, str):
            return name
        changed = scenario_name(name)
        if changed and changed != name:
            self.note(document, loc, f"{name!r} is no name in Kubernetes: the model is called {changed!r}")
        return changed or name


def scenario_name(name: str) -> str:
    """Return a name in lower-case letters, digits and '-'; empty if nothing of it is left."""
    return _NOT_OF_A_NAME.sub("-", name.lower()).strip("-")


def _at(data: Any, loc: Loc) -> Any:
    for part in loc:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _place(loc: Loc, places: Mapping[str, Loc]) -> Loc:
    """Return where a field of a model stands in the document; the whole of it where nothing says."""
    names: Iterable[str] = (str(part) for part in loc if isinstance(part, str) and part != "footprints")
    return next((places[name] for name in names if name in places), places.get("", ()))
