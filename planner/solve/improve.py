"""Large neighbourhood search: close some shards, fill new ones from what was in them, keep what is better.

The shards that earn least of their price are closed most often. At equal cost a round is kept if it leaves
the waste in fewer shards, so that one of them ends up empty (Ropke and Pisinger 2006 give the pattern; the
convex measure of waste is usual in bin packing).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.filling import Filler, Pool, Style, fill_by_worth
from planner.solve.guide import Advice
from planner.solve.packing import Floats, Packing, Resident

CLOSED_AT_ONCE = 5
"""Shards that one round closes; more find deeper gains and cost more time each."""

_STYLES = (
    Style(noise=0.1),
    Style(alignment=3.0, noise=0.2),
    Style(alignment=1.0, noise=0.2),
    Style(alignment=2.0, kinship=1.0, noise=0.4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    """A shard that was closed, and who was in it."""

    row: int
    units: tuple[tuple[int, tuple[Resident, ...]], ...]


def improve(packing: Packing, advice: Advice, rng: np.random.Generator) -> bool:
    """Make one round; returns whether it found something better. The packing is never worse afterwards."""
    rows = _choose(packing, advice, rng)
    if not rows:
        return False
    before, marker = packing.cost, packing.rows
    quality = _quality(packing, advice, rows)
    closed = [_close(packing, row) for row in rows]
    pool = Pool(packing.problem, (u for item in closed for u, _ in item.units), advice.guide.home)
    style = _STYLES[int(rng.integers(len(_STYLES)))]
    fill_by_worth(Filler(packing, pool, advice.guide, style=style, rng=rng))
    opened = range(marker, packing.rows)
    after = (packing.cost, -_quality(packing, advice, opened))
    if not len(pool.models()) and after < (before, -quality):
        return True
    for row in reversed(opened):
        _close(packing, row)
        packing.forget(row)
    for item in closed:
        packing.reopen(item.row)
        for unit, residents in item.units:
            restored = packing.restore(unit, item.row, residents)
            assert restored
    return False


def earnings(packing: Packing, advice: Advice, row: int) -> float:
    """Return what the residents of a shard are worth, as a share of its price."""
    price = float(packing.problem.prices[packing.type_of[row]])
    worth = sum(float(advice.guide.value[item.model]) for item in packing.residents[row])
    return worth / price if price else 1.0


def _quality(packing: Packing, advice: Advice, rows: range | list[int]) -> float:
    """Return a measure that is higher the more unequal the shards are; empty ones would be best."""
    return sum(
        float(packing.problem.prices[packing.type_of[row]]) * earnings(packing, advice, row) ** 2
        for row in rows
    )


def _choose(packing: Packing, advice: Advice, rng: np.random.Generator) -> list[int]:
    """Return rows that may be closed, the ones that earn least being the most likely."""
    rows = [row for row in packing.open_rows() if _may_close(packing, row)]
    if not rows:
        return []
    waste = np.array([max(0.0, 1 - earnings(packing, advice, row)) for row in rows])
    count = min(len(rows), CLOSED_AT_ONCE)
    picked = rng.choice(len(rows), size=count, replace=False, p=_chances(waste))
    worst = int(np.argmax(waste * packing.problem.prices[packing.type_of[rows]]))
    return sorted({rows[worst], *(rows[int(index)] for index in picked[: count - 1])})


def _chances(waste: Floats) -> Floats:
    chances = waste + 0.01
    return np.asarray(chances / chances.sum())


def _may_close(packing: Packing, row: int) -> bool:
    problem, shard_type = packing.problem, packing.opened[row].shard_type
    item = problem.scenario.shard_types[shard_type]
    if packing.names[row] is not None or not item.price_microusd_per_h:
        return False
    if packing.openings.counts[shard_type] <= item.min_count:
        return False
    return all(problem.units[resident.unit].simple for resident in packing.residents[row])


def _close(packing: Packing, row: int) -> _Closed:
    units = []
    for unit in packing.units_in(row):
        _, residents = packing.remove(unit)
        units.append((unit, residents))
    packing.close(row)
    return _Closed(row=row, units=tuple(units))
