"""What a change of plans means for each replica on a shard. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.domain.placement import Placement

Seat = tuple[str, str]
"""A model and its shard: a server holds a name once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Replicas by what becomes of them.

    Parameters
    ----------
    stay
        Nothing is to be done to them.
    move
        Stay on their shard and change devices there, which the server does without taking them away.
    reload
        Stay on their shard with other files or figures: unloaded and loaded.
    come, leave
        New on their shard, and gone from it.
    """

    stay: frozenset[Seat] = frozenset()
    move: frozenset[Seat] = frozenset()
    reload: frozenset[Seat] = frozenset()
    come: frozenset[Seat] = frozenset()
    leave: frozenset[Seat] = frozenset()


def change_of(
    before: Placement, after: Placement, *, copies: tuple[Mapping[Seat, object], Mapping[Seat, object]]
) -> Change:
    """Return what becomes of each replica between two placements.

    Parameters
    ----------
    copies
        For each replica what must not change, or it is loaded anew: before and after.
    """
    old = {(item.model, item.shard): item for item in before.placed}
    new = {(item.model, item.shard): item for item in after.placed}
    both = old.keys() & new.keys()
    reload = {seat for seat in both if copies[0][seat] != copies[1][seat]}
    move = {seat for seat in both - reload if old[seat].devices != new[seat].devices}
    return Change(
        stay=frozenset(both - reload - move),
        move=frozenset(move),
        reload=frozenset(reload),
        come=frozenset(new.keys() - old.keys()),
        leave=frozenset(old.keys() - new.keys()),
    )
