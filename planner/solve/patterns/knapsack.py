"""A site and prices as the knapsack that pricing searches: the surrogate's weights, the order of places."""

from __future__ import annotations

import numpy as np

from planner.solve.packing import Floats
from planner.solve.patterns.pricing import FINE, Knapsack, suffix_table
from planner.solve.patterns.sites import Site
from planner.solve.problem import Ints

COARSE = 256
"""Room of the surrogate's table. On 250 units in 5 dimensions 1,024 save a tenth of the search and cost more
than that to fill."""

STEPS, STEP = 20, 1.5
"""Steps of the surrogate's weights, and the first one's length; more barely change the bound."""

_MULTIPLIER = 2**20


def shares_of(site: Site) -> Ints:
    """Return sizes as shares of the room, ``(classes, dimensions)`` of ``FINE`` rounded down."""
    quotient = np.maximum(1, site.room >> 30)  # so that products stay below 2**62
    room = np.maximum(1, site.room // quotient)
    return np.asarray((site.size // quotient) * FINE // room)


def make_knapsack(site: Site, value: Ints, shares: Ints, most: Ints) -> tuple[Ints, Knapsack]:
    """Return the class of each place, and the knapsack.

    Parameters
    ----------
    site
        What is offered and taken.
    value
        ``(classes,)``: what each class is worth; those of 0 are left out.
    shares
        Of the site.
    most
        ``(classes,)``: how many of each may be used, at most.
    """
    most = np.minimum(most, site.most)
    known = np.flatnonzero((value > 0) & (most > 0))
    weigh = surrogate(shares[known], value[known], most[known])
    fine = (shares[known] @ weigh) >> 20
    order = np.argsort(-(value[known] / np.maximum(fine, 0.5)), kind="stable")
    known, fine = known[order], fine[order]
    coarse = (fine * COARSE) >> 24
    return known, Knapsack(
        room=site.room,
        size=np.ascontiguousarray(site.size[known]),
        most=most[known],
        backends=site.backends[known],
        base=site.base,
        surplus=site.surplus[known],
        loads=site.loads,
        label=site.label[known],
        value=value[known],
        fine=fine,
        coarse=coarse,
        table=suffix_table(coarse, value[known], most[known], COARSE),
    )


def surrogate(shares: Ints, value: Ints, most: Ints) -> Ints:
    """Return multipliers of the dimensions, summing to no more than 2**20, that make the surrogate tight.

    Multiplicative steps towards the dimensions that the surrogate's own linear relaxation fills most
    (surrogate duality, Glover 1975).
    """
    dims = shares.shape[1]
    weight = np.full(dims, 1.0 / dims)
    best, least = weight, np.inf
    parts = shares / FINE
    total = value * most
    for step in range(STEPS if len(value) and dims > 1 else 0):
        taken, worth = _linear(parts @ weight, total, most)
        if worth < least:
            best, least = weight, worth
        use = (taken * most) @ parts
        weight = weight * np.exp((use - 1).clip(-4, 4) * STEP / (1 + 0.3 * step))
        weight = weight / weight.sum()
    return np.asarray(np.floor(best * _MULTIPLIER), dtype=np.int64)


def _linear(weight: Floats, total: Ints, most: Ints) -> tuple[Floats, float]:
    """Return which part of each class a plain knapsack of room 1 takes, and what that is worth."""
    heavy = weight * most
    order = np.argsort(-(total / np.maximum(heavy, 1e-12)), kind="stable")
    before = np.cumsum(heavy[order]) - heavy[order]
    part = np.empty(len(weight))
    part[order] = ((1 - before) / np.maximum(heavy[order], 1e-12)).clip(0, 1)
    return part, float(part @ total)
