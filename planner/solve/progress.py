"""What a search tells of itself while it goes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands.

    Parameters
    ----------
    phase
        What it does now, as ``construct``.
    cost_microusd_per_h, bound_microusd_per_h
        The best so far; None is not known yet.
    refused
        Replicas that the best plan so far does not place.
    """

    phase: str
    cost_microusd_per_h: int | None
    bound_microusd_per_h: int | None
    refused: int
