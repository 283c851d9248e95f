"""Large neighbourhood search: close some shards, fill new ones from what was in them, keep what is better.

The shards that earn least of their price are closed most often. At equal cost a round is kept if it leaves
the waste in fewer shards, so that one of them ends up empty (Ropke and Pisinger 2006 give the pattern; the
convex measure of waste is usual in bin packing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from planner.solve.filling import BALANCED, Filler, Pool, Style, fill_by_worth
from planner.solve.guide import Advice
from planner.solve.packing import Floats, Packing, Resident
from planner.solve.problem import Ints
from planner.solve.shares import PATIENCE
from planner.solve.watch import Watch

CLOSED_AT_ONCE = 5
"""Shards that one round closes; more find deeper gains and cost more time each."""

RELATED_RATIO = 0.5
"""Part of the rounds that close shards like each other rather than the worst ones (Shaw 1998)."""

_STYLES = (
    Style(noise=0.1),
    Style(reach=3, noise=0.2),
    Style(reach=12, noise=0.3),
    replace(BALANCED, noise=0.2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    """A shard that was closed, and who was in it."""

    row: int
    units: tuple[tuple[int, tuple[Resident, ...]], ...]


class Improver:
    """Improves one packing, round by round.

    Parameters
    ----------
    packing
        What is changed; never for the worse.
    advice
        What the relaxation says.
    watch
        When to stop: a round that is under way is then taken back.
    """

    def __init__(self, packing: Packing, advice: Advice, watch: Watch) -> None:
        self.packing, self.advice, self.watch = packing, advice, watch
        self._earned: dict[int, float] = {}
        self._special = {  # units of several models or devices, and pinned ones, stay where they are
            row
            for unit, row in enumerate(packing.row_of_unit)
            if row is not None and not packing.problem.units[unit].simple
        }

    def can_improve(self) -> bool:
        """Return whether there is a shard that may be closed."""
        return any(self._may_close(row) for row in self.packing.open_rows())

    def improve(self, rng: np.random.Generator) -> bool:
        """Make one round; returns whether it found something better."""
        packing, advice = self.packing, self.advice
        rows = self._choose(rng)
        if not rows:
            return False
        before, marker = packing.cost, packing.rows
        quality = self._quality(rows)
        closed = [_close(packing, row) for row in rows]
        pool = Pool(packing.problem, (u for item in closed for u, _ in item.units), advice.guide.home)
        style = _STYLES[int(rng.integers(len(_STYLES)))]
        fill_by_worth(Filler(packing, pool, advice.guide, style=style, rng=rng, watch=self.watch))
        opened = range(marker, packing.rows)
        after = (packing.cost, -self._quality(opened))
        if not len(pool.models()) and after < (before, -quality) and self._enough():
            return True
        self._undo(opened, closed)
        return False

    def _enough(self) -> bool:
        counts = self.packing.openings.counts
        types = self.packing.problem.scenario.shard_types
        return all(count >= item.min_count for count, item in zip(counts, types, strict=True))

    def _undo(self, opened: range, closed: list[_Closed]) -> None:
        packing = self.packing
        for row in reversed(opened):
            _close(packing, row)
            packing.forget(row)
            self._earned.pop(row, None)
        for item in closed:
            packing.reopen(item.row)
            for unit, residents in item.units:
                restored = packing.restore(unit, item.row, residents)
                assert restored

    def _earnings(self, row: int) -> float:
        """Return what the residents of a shard are worth, as a share of its price."""
        if row not in self._earned:
            price = float(self.packing.problem.prices[self.packing.type_of[row]])
            worth = sum(float(self.advice.guide.value[item.model]) for item in self.packing.residents[row])
            self._earned[row] = worth / price if price else 1.0
        return self._earned[row]

    def _quality(self, rows: range | list[int]) -> float:
        """Return a measure that is higher the more unequal the shards are; empty ones would be best."""
        prices = self.packing.problem.prices[self.packing.type_of[list(rows)]]
        return sum(float(price) * self._earnings(row) ** 2 for row, price in zip(rows, prices, strict=True))

    def _choose(self, rng: np.random.Generator) -> list[int]:
        """Return rows to close: of each type the one that earns least, and some that probably earn little."""
        packing = self.packing
        rows = [row for row in packing.open_rows() if self._may_close(row)]
        if not rows:
            return []
        waste = np.array([max(0.0, 1 - self._earnings(row)) for row in rows])
        count = min(len(rows), CLOSED_AT_ONCE)
        picked = rng.choice(len(rows), size=count, replace=False, p=_chances(waste))
        if rng.random() < RELATED_RATIO:
            return sorted(rows[int(index)] for index in self._related(np.array(rows), int(picked[0]), rng))
        types = packing.type_of[rows]
        worst = [int(np.argmax(np.where(types == kind, waste, -1.0))) for kind in np.unique(types)]
        return sorted({rows[int(index)] for index in (*worst, *picked)})

    def _related(self, rows: Ints, first: int, rng: np.random.Generator) -> Ints:
        """Return shards like one of them: of its type and backends, with about as much room for loading."""
        packing = self.packing
        cells = packing.first_cell[rows]
        users = packing.host_users[rows] > 0
        strange = (users != users[first]).sum(axis=1) + 4 * (
            packing.type_of[rows] != packing.type_of[rows[first]]
        )
        peaks = packing.peak_sum[cells].astype(np.float64)
        distance = np.abs(peaks - peaks[first]) / max(float(peaks.max()), 1.0)
        order = np.argsort(strange + distance + 0.3 * rng.random(len(rows)), kind="stable")
        return order[: min(len(rows), CLOSED_AT_ONCE + 1)]

    def _may_close(self, row: int) -> bool:
        packing = self.packing
        shard_type = packing.opened[row].shard_type
        item = packing.problem.scenario.shard_types[shard_type]
        if packing.names[row] is not None or not item.price_microusd_per_h:
            return False
        return packing.openings.counts[shard_type] > item.min_count and row not in self._special


def improve_by_rounds(  # noqa: PLR0913 - until when, in four ways
    packing: Packing,
    advice: Advice,
    *,
    at_least: Callable[[], int],
    rounds: int,
    seed: int,
    watch: Watch,
) -> None:
    """Improve a packing until it costs what its bound says, nothing helps, or rounds or time are spent.

    Parameters
    ----------
    packing
        What is changed; never for the worse.
    advice
        What the relaxation says.
    at_least
        The bound of what is placed now, in micro-USD an hour.
    rounds
        How many at most.
    seed
        Of the random choices.
    watch
        When to stop.
    """
    improver, idle = Improver(packing, advice, watch), 0
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        done = packing.cost <= at_least() or idle == PATIENCE
        if done or watch.is_over() or not improver.can_improve():
            break
        idle = 0 if improver.improve(rng) else idle + 1


def _chances(waste: Floats) -> Floats:
    chances = waste + 0.01
    return np.asarray(chances / chances.sum())


def _close(packing: Packing, row: int) -> _Closed:
    units = []
    for unit in packing.units_in(row):
        _, residents = packing.remove(unit)
        units.append((unit, residents))
    packing.close(row)
    return _Closed(row=row, units=tuple(units))
