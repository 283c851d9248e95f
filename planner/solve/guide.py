"""What the fluid relaxation tells the heuristics, and the bound that goes with it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.domain.plan import Bound
from planner.solve.bounds import DualPrices, bound_of, denominator, values_of_kinds
from planner.solve.clusters import make_clusters
from planner.solve.compiled import has_machine_code
from planner.solve.filling import Guide, make_tables
from planner.solve.heuristics import placed_by_priority, price_shares
from planner.solve.options import Effort
from planner.solve.packing import Floats, Packing
from planner.solve.problem import Ints, Problem
from planner.solve.relaxation import Relaxation, backend_of_kinds, make_relaxation
from planner.solve.ways import cheapest_first

if TYPE_CHECKING:
    from planner.solve.exact.fluid import Fluid

CLUSTERS = 400
"""Clusters of kinds in the linear program, half a second to one; what that loses ``ascent`` gains back."""

DEAR = 0.01
"""A replica whose home costs so much more than its best type, as a share, gets that one for a home."""

BOUND_METHOD, PROOF_METHOD = "fluid-lp", "whole-shards-cp-sat"

PROVED_UNITS = 60
"""Units up to which CP-SAT is asked for a better bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The relaxation, solved once for a problem, whose ways it brings in order: the cheapest first.

    ``options``, ``(units,)``, are the footprints that the relaxation gives units at their homes; -1 where it
    says nothing.
    """

    problem: Problem
    relaxation: Relaxation
    prices: DualPrices
    guide: Guide
    shares: Floats
    options: Ints


def make_advice(problem: Problem, limit_s: float | None = None, *, hurry: bool = False) -> Advice:
    """Return what the relaxation says, or prices alone where the engine has no answer in time.

    ``limit_s`` None is no limit, 0 does not ask the engine: prices that dimensions share evenly are made
    better, which takes a tenth of the time and gives a bound some 1 % lower; a home is then the type that is
    cheapest by these prices. In a hurry, or before there is machine code, it stays with even prices.
    """
    from planner.solve.exact.fluid import REFUSAL_PRICE, solve_fluid  # ortools takes seconds to import

    relaxation = make_relaxation(problem)
    weights = _replicas_of_kinds(problem)
    clusters = make_clusters(relaxation, weights, backend_of_kinds(problem), CLUSTERS)
    fluid = solve_fluid(relaxation, clusters, weights, limit_s) if clusters and limit_s != 0 else None
    prices = fluid.prices if fluid is not None else _even_prices(relaxation)
    home = options = np.full(len(problem.units), -1, dtype=np.int64)
    types: list[int] = []
    if fluid is not None:
        home, options = _homes(problem, fluid, clusters)
        types = np.flatnonzero(fluid.shards > 1e-6).tolist()
        rises = len(clusters) < int(np.count_nonzero(weights))
    else:
        rises = bool(clusters) and not hurry and has_machine_code()
    if rises:
        from planner.solve.core.ascent import ascend, cheapest_types  # machine code takes long to make

        prices = ascend(relaxation, prices, weights, REFUSAL_PRICE * float(problem.prices.max()))
        if fluid is None:
            home = _cheapest_homes(problem, cheapest_types(relaxation, prices))
            types = np.unique(home[home >= 0]).tolist()
    problem, relaxation = cheapest_first(problem, relaxation, prices, weights)
    values, _ = values_of_kinds(relaxation, prices)
    worth = [value / denominator() for value in values] or [0.0] * len(weights)
    shares = price_shares(problem)
    size = _sizes(problem, shares)
    return Advice(
        problem=problem,
        relaxation=relaxation,
        prices=prices,
        shares=shares,
        options=options,
        guide=Guide(
            value=np.array(worth)[problem.kind],
            size=size,
            home=home,
            tables=make_tables(problem, size),
            types=tuple(types),
        ),
    )


def bound_for(problem: Problem, advice: Advice, placed: tuple[int, ...]) -> Bound:
    """Return a bound of the cost of placing as many replicas of each priority, highest priority first."""
    able = np.zeros(len(problem.modes[0].allowed), dtype=np.bool_)
    for item in advice.relaxation.types:
        able |= item.allowed.any(axis=0)
    seats = problem.seat_model[able[problem.kind[problem.seat_model]]]
    copies = np.zeros(len(able), dtype=np.int64)
    np.maximum.at(copies, problem.kind[seats], np.bincount(seats)[seats])
    kinds = [problem.kind[seats[problem.level[seats] == level]] for level in range(len(placed))]
    cost = bound_of(advice.relaxation, advice.prices, kinds, placed, copies=copies)
    return Bound(microusd_per_h=cost, method=BOUND_METHOD)


def proved_bound(packing: Packing, advice: Advice, known: Bound, effort: Effort) -> Bound:
    """Return the better of a known bound and what CP-SAT proves of placing as much as a packing does."""
    from planner.solve.exact.whole import whole_bound  # ortools takes seconds to import

    problem, cost = packing.problem, packing.cost
    if known.microusd_per_h >= cost or len(problem.units) > PROVED_UNITS:
        return known
    placed = placed_by_priority(packing)
    found = whole_bound(problem, advice.relaxation, placed=placed, cost=cost, effort=effort)
    if found is None or found <= known.microusd_per_h:
        return known
    return Bound(microusd_per_h=found, method=PROOF_METHOD)


def _replicas_of_kinds(problem: Problem) -> Floats:
    kinds = len(problem.modes[0].allowed)
    return np.bincount(problem.kind[problem.seat_model], minlength=kinds).astype(np.float64)


def _even_prices(relaxation: Relaxation) -> DualPrices:
    """Return prices by which all dimensions cost as much of which replicas take anything."""
    prices = np.zeros((len(relaxation.types), _dimensions(relaxation)))
    for row, item in zip(prices, relaxation.types, strict=True):
        taken = item.demand.max(axis=(0, 1), initial=0) > 0
        row[taken] = item.price / max(1, int(taken.sum()))
    links = tuple(np.zeros((len(item.overheads), prices.shape[1])) for item in relaxation.types)
    return DualPrices(dimensions=prices, links=links)


def _dimensions(relaxation: Relaxation) -> int:
    return relaxation.types[0].demand.shape[2] if relaxation.types else 0


def _sizes(problem: Problem, shares: Floats) -> Floats:
    size = np.zeros(len(problem.scenario.models))
    least = np.min(shares, axis=1, initial=np.inf)[problem.seat_unit]
    known = np.isfinite(least)
    size[problem.seat_model[known]] = least[known]
    return size


def _cheapest_homes(problem: Problem, types: Ints) -> Ints:
    """Return the type of each unit: that of its kind, ``(kinds,)``."""
    simple = np.array([unit.simple for unit in problem.units], dtype=np.bool_)
    kind = problem.kind[np.array([unit.members[0] for unit in problem.units], dtype=np.int64)]
    return np.where(simple, types[kind], -1)


def _homes(problem: Problem, fluid: Fluid, clusters: tuple[Ints, ...]) -> tuple[Ints, Ints]:
    """Return type and footprint of each unit: a cluster's units are dealt out as the relaxation shares it."""
    home = np.full(len(problem.units), -1, dtype=np.int64)
    options = home.copy()
    cluster_of = np.full(len(problem.modes[0].allowed), -1, dtype=np.int64)
    for index, kinds in enumerate(clusters):
        cluster_of[kinds] = index
    members: dict[int, list[int]] = defaultdict(list)
    for index, unit in enumerate(problem.units):
        cluster = int(cluster_of[problem.kind[unit.members[0]]])
        if unit.simple and cluster >= 0:
            members[cluster].append(index)
    types, ways, _ = fluid.share.shape
    kind = problem.kind[np.array([unit.members[0] for unit in problem.units], dtype=np.int64)]
    option_of = np.stack([mode.option for mode in problem.modes])
    for cluster, units in sorted(members.items()):
        edges = np.cumsum(fluid.share[:, :, cluster])
        if edges[-1] > 0.5:
            place = (np.arange(len(units)) + 0.5) / len(units) * edges[-1]
            home[units], way = np.divmod(np.searchsorted(edges, place).clip(0, types * ways - 1), ways)
            options[units] = option_of[way, kind[units], home[units]]
    return home, options
