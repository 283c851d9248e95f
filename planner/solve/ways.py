"""Which of its ways a model is placed in first: the one that is cheapest by dual prices, on each type.

A model may have several footprints for a device class: a larger batch takes more memory and less time. Most
of the search looks at the first way of each kind on each type only, so the order decides what a plan costs.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from planner.solve.bounds import DualPrices
from planner.solve.core.ascent import inflate
from planner.solve.packing import Floats
from planner.solve.problem import Ints, Mode, Problem
from planner.solve.relaxation import FluidType, Relaxation

LEAST_PRICE, STEEPNESS = 0.02, 4
"""Of the dimension that is used most, as a share of the shard's price, and how much less one counts that is
used less: what is free by dual prices may be scarce in the end, the sooner the more of it is used. It tells
ways apart of which each takes as much of what has a price."""

BLOCKS, PASSES = 20, 2
"""Kinds choose by blocks, so that those who come later see what is used by then; and so often."""


def cheapest_first(
    problem: Problem, relaxation: Relaxation, prices: DualPrices, weights: Floats
) -> tuple[Problem, Relaxation]:
    """Return a problem and its relaxation with the ways of each kind on each type by rising cost.

    Ways of equal cost stay in their order. Each keeps the footprint that it stands for, and prices and bounds
    stay what they are; ``weights`` are the replicas of each kind, ``(kinds,)``.
    """
    if len(problem.modes) == 1 or not relaxation.types:
        return problem, relaxation
    order = np.argsort(_costs(relaxation, prices, weights), axis=1, kind="stable")
    return (
        dataclasses.replace(problem, modes=_modes(problem.modes, order)),
        Relaxation(
            types=tuple(_fluid_type(item, row) for item, row in zip(relaxation.types, order, strict=True))
        ),
    )


def _costs(relaxation: Relaxation, prices: DualPrices, weights: Floats) -> Floats:
    """Return what a replica costs, ``(types, ways, kinds)``; infinite where it is not allowed alone."""
    allowed = np.stack([item.allowed for item in relaxation.types])
    taken = np.where(allowed[..., None], inflate(relaxation, prices).shares, 0.0)
    cost = np.where(allowed, np.einsum("twkd,td->twk", taken, prices.dimensions), np.inf)
    is_home = np.argmin(cost.min(axis=1), axis=0) == np.arange(len(cost))[:, None]
    for of_type, item in enumerate(relaxation.types):
        replicas = weights * is_home[of_type]
        cost[of_type] += _scarcity(cost[of_type], taken[of_type], replicas, LEAST_PRICE * item.price)
    return cost


def _scarcity(cost: Floats, taken: Floats, replicas: Floats, price: float) -> Floats:
    """Return what ways cost on top on one type, ``(ways, kinds)``, by what is used of each dimension there.

    ``cost`` is ``(ways, kinds)`` and infinite where a way is not allowed, ``taken`` ``(ways, kinds,
    dimensions)``.
    """
    kinds = np.arange(cost.shape[1])
    chosen, more = np.argmin(cost, axis=0), np.zeros_like(cost)
    used = replicas @ taken[chosen, kinds]
    for block in (kinds[start::BLOCKS] for _ in range(PASSES) for start in range(BLOCKS)):
        dear = price * (used / max(used.max(initial=0.0), 1e-9)) ** STEEPNESS
        more[:, block] = taken[:, block] @ dear
        used -= replicas[block] @ taken[chosen[block], block]
        chosen[block] = np.argmin(cost[:, block] + more[:, block], axis=0)
        used = np.maximum(used + replicas[block] @ taken[chosen[block], block], 0.0)
    return more


def _modes(modes: tuple[Mode, ...], order: Ints) -> tuple[Mode, ...]:
    """Return modes in another order, ``(types, ways, kinds)``."""
    by_kinds = order.transpose(1, 2, 0)  # (ways, kinds, types), as the modes' arrays one below the other

    def ordered(name: str) -> Ints:
        array = np.stack([getattr(mode, name) for mode in modes])
        places = by_kinds if array.ndim == by_kinds.ndim else by_kinds[..., None]
        return np.take_along_axis(array, places, axis=0)

    names = [field.name for field in dataclasses.fields(Mode)]
    columns = {name: ordered(name) for name in names}
    return tuple(Mode(**{name: columns[name][rank] for name in names}) for rank in range(len(modes)))


def _fluid_type(item: FluidType, order: Ints) -> FluidType:
    """Return a type with its ways in another order, ``(ways, kinds)``."""
    overheads = tuple(
        dataclasses.replace(
            overhead,
            members=np.take_along_axis(overhead.members, order, axis=0),
            brought=np.take_along_axis(overhead.brought, order, axis=0),
        )
        for overhead in item.overheads
    )
    return dataclasses.replace(
        item,
        allowed=np.take_along_axis(item.allowed, order, axis=0),
        demand=np.take_along_axis(item.demand, order[..., None], axis=0),
        own=np.take_along_axis(item.own, order[..., None], axis=0),
        overheads=overheads,
    )
