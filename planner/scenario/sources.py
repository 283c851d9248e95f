"""Where models come from when they are not written out: ``modelsFrom``."""

from __future__ import annotations

from pathlib import Path

from planner.scenario.documents import Loc
from planner.scenario.draft import Draft
from planner.scenario.faults import FaultLog
from planner.scenario.gather import Piece
from planner.scenario.scenario_shape import ModelsFromShape


def add_models_from(
    draft: Draft, source: ModelsFromShape, piece: Piece, *, loc: Loc, root: Path | None, log: FaultLog
) -> None:
    """Add the models of one source to a draft, and note what is wrong with it."""
    del draft, source, root
    log.add(piece.document, loc, "unsupported")
