"""A part of a fleet as a fleet of its own, with its own numbers for units and kinds, and back again."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from planner.solve.core.state import (
    AFTER,
    BEFORE,
    CLOSED,
    DOMAIN,
    FIRST,
    HOST_LEFT,
    OWN_DOMAINS,
    ROW,
    TYPE,
    State,
    count_shard,
    make_state,
)
from planner.solve.core.tables import (
    BACKENDS,
    DIMENSIONS,
    FROM,
    HOST,
    KIND,
    LEAST,
    MODEL,
    MOST,
    MOST_COST,
    MOST_PODS,
    MOST_SHARDS,
    TO,
    TYPE_DOMAIN,
    Tables,
    put_in_order,
)
from planner.solve.core.worth import Worth
from planner.solve.problem import AMPLE, Ints

APART_UNITS, PART_UNITS = 8_000, 25_000
"""Units from which on a fleet is cut into parts, two at least, and units in a part of a large one, about."""


class Part(NamedTuple):
    """A state of a part of a fleet, and the units of the fleet that its units are."""

    units: Ints
    state: State


def parts_of(
    tables: Tables,
    units: Ints,
    rng: np.random.Generator,
    *,
    least: int = APART_UNITS,
    size: int = PART_UNITS,
) -> list[Ints]:
    """Return units in parts that can be searched apart, each rising: all of a model are in the same one.

    There is one part where there are fewer than ``least``, or where parts would have to share a limit; else
    parts have about ``size`` units, or half of all.
    """
    count = max(2, len(units) // size) if len(units) >= least else 1
    if count < 2 or _is_limited(tables):
        return [units]
    models = tables.units[units, MODEL]
    part = rng.integers(count, size=int(models.max()) + 1)[models]
    return [np.sort(units[part == number]) for number in range(count)]


def _is_limited(tables: Tables) -> bool:
    limits = tables.rule[[MOST_PODS, MOST_SHARDS, MOST_COST]]
    most, least = tables.types[:, MOST], tables.types[:, LEAST]
    return bool((limits < AMPLE).any() or ((most > 0) & (most < AMPLE)).any() or least.any())


def cut(tables: Tables, worth: Worth, units: Ints) -> tuple[Tables, Worth]:
    """Return the tables and the worth of some units, which rise, with numbers of their own.

    Of a model of which only some replicas are among them the others are left out.
    """
    own = tables.units[units]
    kinds, own[:, KIND] = np.unique(own[:, KIND], return_inverse=True)
    own[:, FROM], own[:, TO] = (np.searchsorted(units, own[:, column]) for column in (FROM, TO))
    part = tables._replace(
        units=own,
        demand=np.ascontiguousarray(tables.demand[:, kinds]),
        value=tables.value[kinds],
        loss=np.ascontiguousarray(tables.loss[:, kinds]),
        place=np.zeros(len(own), dtype=np.int64),
    )
    put_in_order(part)
    shares = np.ascontiguousarray(worth.shares[:, kinds])
    return part, dataclasses.replace(worth, shares=shares, prices=worth.prices.copy())


def shares_domains(tables: Tables) -> bool:
    """Return whether shards share failure domains, so that what is in one part concerns the others."""
    return bool((tables.types[:, TYPE_DOMAIN] >= 0).any())


def deal_out(tables: Tables, state: State, parts: int, rng: np.random.Generator) -> list[Ints]:
    """Return all open shards in so many parts, each rising: at random, but those of a backend together.

    So what a shard may exchange with its like is hardly cut down with the parts. A shard of several backends
    counts as of the one that most of its residents have.
    """
    rows = rng.permutation(np.flatnonzero(state.rows[:, TYPE] != CLOSED))
    backend = state.rows[rows, HOST_LEFT + tables.rule[DIMENSIONS] - HOST :].argmax(axis=1)
    order = np.argsort(rng.permutation(tables.rule[BACKENDS])[backend], kind="stable")
    return [np.sort(part) for part in np.array_split(rows[order], parts)]


def part_of_rows(tables: Tables, state: State, rows: Ints, spare: int) -> Part:
    """Return some open shards with those who are in them, and room for so many more shards."""
    units = np.flatnonzero(np.isin(state.units[:, ROW], rows))
    number, name = np.zeros(len(state.rows), dtype=np.int64), np.zeros(len(state.units), dtype=np.int64)
    number[rows], name[units] = np.arange(len(rows)), np.arange(len(units))
    part = make_state(tables._replace(units=tables.units[units]), len(rows) + spare)
    part.rows[: len(rows)], part.cells[: len(rows)] = state.rows[rows], state.cells[rows]
    part.units[:] = state.units[units]
    part.units[:, ROW] = number[part.units[:, ROW]]
    for column in (BEFORE, AFTER):
        part.units[:, column] = _renamed(part.units[:, column], name)
    listed = part.rows[: len(rows)]
    listed[:, FIRST] = _renamed(listed[:, FIRST], name)
    listed[:, DOMAIN] = OWN_DOMAINS + np.arange(len(rows))
    for shard_type, count in zip(*np.unique(listed[:, TYPE], return_counts=True), strict=True):
        count_shard(tables, part, int(shard_type), int(count))
    return Part(units=units, state=part)


def join(empty: State, parts: list[Part]) -> State:
    """Return the state of all parts together: rows one after the other."""
    units, first, rows = empty.units.copy(), 0, []
    for part in parts:
        placed = np.flatnonzero(part.state.units[:, ROW] >= 0)
        moved, listed = part.state.units[placed], part.state.rows.copy()
        moved[:, ROW] += first
        for column in (BEFORE, AFTER):
            moved[:, column] = _renamed(moved[:, column], part.units)
        units[part.units[placed]] = moved
        listed[:, FIRST] = _renamed(listed[:, FIRST], part.units)
        listed[:, DOMAIN] += np.where(listed[:, DOMAIN] >= OWN_DOMAINS, first, 0)
        rows.append(listed)
        first += len(listed)
    return State(
        rows=np.concatenate(rows),
        cells=np.concatenate([part.state.cells for part in parts]),
        units=units,
        totals=empty.totals + sum(part.state.totals for part in parts),
    )


def _renamed(units: Ints, names: Ints) -> Ints:
    """Return the fleet's numbers of a part's units; nobody, who is -1, stays nobody, in an empty part too."""
    return np.append(names, -1)[units]
