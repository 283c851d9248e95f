"""One cheaper mix of shards after the other, between the bound and what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.exact.mix import Mix
from planner.solve.guide import Advice
from planner.solve.mixes.cuts import Mixes
from planner.solve.mixes.repack import Repacker
from planner.solve.mixes.walk import Walker
from planner.solve.options import Effort
from planner.solve.packing import Packing
from planner.solve.watch import Watch

FIRST_WORK, MORE = 200_000, 4
"""Work for one mix in the first pass, a few hundredths of a second, and how many times more in the next."""

ALTERNATIVES = 2
"""Mixes that are tried at one cost."""

MOST_LOOKS = 40
"""Mixes that are looked at before walks, each a hundredth of a second."""

WALKED_UNITS, REPACKED_UNITS, WORK_OF_CHANGES = 2_000, 300, 700
"""Units up to which mixes are annealed, and up to which they are repacked then; and the work for which each
unit may change its place once in each walk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found.

    Parameters
    ----------
    packing
        The cheapest that is known.
    bound_microusd_per_h
        No plan that places every unit costs less.
    spent
        Sets of residents that were looked at, or changes that were tried.
    walked
        Whether mixes were annealed.
    """

    packing: Packing
    bound_microusd_per_h: int
    spent: int
    walked: bool = False


def search(  # noqa: PLR0913 - the settings of a search
    packing: Packing, advice: Advice, *, at_least: int, work: int, effort: Effort, watch: Watch
) -> Found:
    """Return what is no dearer than a complete packing, and a bound.

    Parameters
    ----------
    packing
        What is known; it is not changed.
    advice
        What the relaxation says.
    at_least
        A bound of placing every unit that is known, in micro-USD an hour.
    work
        Sets of residents that may be looked at; a deeper search goes on where a shallower one ends.
    effort
        What one question for a mix may cost; its seed is that of all random choices.
    watch
        When to stop.
    """
    found = _Search(packing, advice, work=work, effort=effort, watch=watch)
    return found.run(at_least)


class _Search:
    """Passes from the bound to the best packing, each with more work for a mix."""

    def __init__(self, packing: Packing, advice: Advice, *, work: int, effort: Effort, watch: Watch) -> None:
        self.best, self.work, self.watch = packing, work, watch
        self.mixes = Mixes(
            packing.problem, advice.relaxation, most_cost=packing.cost, effort=effort, watch=watch
        )
        self.mixes.add(advice.prices, 1.0)
        self.repacker = Repacker(packing.problem, advice, seed=effort.seed, watch=watch)
        self.used = np.array(advice.guide.types, dtype=np.int64)
        self.bound, self.seed = 0, effort.seed

    def run(self, at_least: int) -> Found:
        self.bound = max(at_least, self.mixes.bound())
        units, spent, walked = len(self.best.problem.units), 0, False
        if units <= WALKED_UNITS:
            walker = Walker(self.best, self.repacker.tables, self.repacker.worth.prices, self.watch)
            if walker.suits():
                self.best, spent, walked = self._walk(walker), walker.spent, units > REPACKED_UNITS
        each = FIRST_WORK
        while not walked and not self._is_over():
            if not self._pass(each):
                break
            each *= MORE
        spent += self.repacker.spent
        return Found(packing=self.best, bound_microusd_per_h=self.bound, spent=spent, walked=walked)

    def _walk(self, walker: Walker) -> Packing:
        """Return what walks find."""
        self._refine(walker)
        program, work = self.mixes.program, self.work * len(self.best.problem.units) // WORK_OF_CHANGES
        return walker.walk(
            program.conditions, program.limits, self.used, bound=self.bound, seed=self.seed, work=work
        )

    def _refine(self, walker: Walker) -> None:
        """Look at the mixes that walks may try, until what conditions say of the best of them is so."""
        program, mix, looks = self.mixes.program, np.array(self.best.openings.counts), 0
        while looks < MOST_LOOKS and not self.watch.is_over():
            near = walker.neighbours(program.conditions, program.limits, self.used)
            choices = near.best_near(mix, self.bound, self.best.cost)
            unknown = [choice.mix for choice in choices if not self.mixes.is_known(choice.mix)]
            if not unknown:
                break
            for one in unknown[: MOST_LOOKS - looks]:
                if self.watch.is_over():
                    return
                self.mixes.look(one)
            looks += len(unknown)

    def _is_over(self) -> bool:
        return self.best.cost <= self.bound or self.repacker.spent >= self.work or self.mixes.is_over()

    def _pass(self, each: int) -> bool:
        """Halve the costs between the bound and the best; returns whether that took any work."""
        self.mixes.forget_tried()
        low, before = self.bound, self.repacker.spent
        while low < self.best.cost and not self._is_over():
            cost = (low + self.best.cost - 1) // 2
            mix, found = self.mixes.roomiest(cost), None
            for _ in range(ALTERNATIVES):
                if mix is None or found is not None or self._is_over():
                    break
                found = self._try(mix, each)
                mix = self.mixes.roomiest(cost) if found is None else None
            if found is None:
                low = cost + 1
        return self.repacker.spent > before

    def _try(self, mix: Mix, each: int) -> Packing | None:
        """Try a mix, and keep what comes of it; else leave it out."""
        left = self.work - self.repacker.spent
        found = self.repacker.repack(self.best, mix, min(each, left))
        if found is None or found.cost >= self.best.cost:
            self.mixes.leave_out(mix)
            return None
        self.best = found
        return found
