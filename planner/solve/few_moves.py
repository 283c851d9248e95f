"""What a limited number of moves makes of a packing that keeps an earlier plan. No shard is opened here."""

from __future__ import annotations

from collections.abc import Callable

from planner.domain.difference import count_moves
from planner.domain.placement import Placement
from planner.solve.keeping import packing_from, take_names
from planner.solve.packing import Packing
from planner.solve.result import placement_of
from planner.solve.watch import Watch


def moved(packing: Packing, base: Placement) -> int:
    """Return what a packing moves of a base, and give its shards the names of the base's that suit them."""
    take_names(packing, base)
    return count_moves(base, placement_of(packing))


def with_moves(
    packing: Packing, base: Placement, *, most_moves: int, watch: Watch, tell: Callable[[str, Packing], None]
) -> list[Packing]:
    """Return what places more than a packing, and what costs less, by the moves that it leaves.

    Parameters
    ----------
    packing
        What is changed in the packings that are returned, itself not.
    base
        What is in force.
    most_moves
        Moves in all, those from the base to the packing among them.
    watch
        When to stop.
    tell
        Told about every phase and what it made.
    """
    found: list[Packing] = []
    more = _roomier(packing, base, most_moves, watch)
    if more is not None:
        tell("make room", more)
        found.append(more)
    saved = _thrifty(more or packing, base, most_moves)
    if saved is not None:
        tell("save", saved)
        found.append(saved)
    return found


def _roomier(packing: Packing, base: Placement, most_moves: int, watch: Watch) -> Packing | None:
    """Return what places more by the moves that are left; None where none are, or none was found."""
    placement, unplaced = placement_of(packing), packing.row_of_unit.count(None)
    if not unplaced or count_moves(base, placement) >= most_moves:
        return None
    from planner.solve.repair.plans import admit  # machine code takes long to make the first time

    placement = admit(packing.problem, placement, base, most_moves=most_moves, watch=watch)
    found = packing_from(packing.problem, placement)
    return found if found.row_of_unit.count(None) < unplaced else None


def _thrifty(packing: Packing, base: Placement, most_moves: int) -> Packing | None:
    """Return what costs less by the moves that are left; None where none are."""
    placement = placement_of(packing)
    if count_moves(base, placement) >= most_moves:
        return None
    from planner.solve.repair.plans import save  # machine code takes long to make the first time

    return packing_from(packing.problem, save(packing.problem, placement, base, most_moves=most_moves))


def evened(packing: Packing, base: Placement, *, most_moves: int) -> Packing:
    """Return what is more even by the moves that are left."""
    from planner.solve.repair.plans import level  # machine code takes long to make the first time

    placement = level(packing.problem, placement_of(packing), base, most_moves=most_moves)
    return packing_from(packing.problem, placement)
