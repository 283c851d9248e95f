"""The fewest and smallest changes of a scenario that let what was refused be placed, found by solving.

First everything that may be relaxed is, all at once: what is refused even then is beyond relaxing, the rest
is the goal. Then every lever alone; where none reaches the goal, those that cannot be done without, pairs,
and a set that is irreducible because every lever in it was tried without (the deletion filter of Chinneck and
Dravnieks, 1991). The least amount of each is found by binary search.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from planner.domain.plan import Plan, Refusal
from planner.domain.scenario import Scenario
from planner.solve.options import SolveOptions
from planner.solve.progress import Progress
from planner.solve.relax.lever import Lever, Value
from planner.solve.relax.trials import NO_PLAN, Outcome, Rank, TimeIsUpError, Trials
from planner.solve.watch import Clock
from planner.units import MICROUSD

TRIAL_WORKS = ((5_000, 20), (None, 4))
"""(replicas up to, work): what a trial spends that is not told; a dozen to a hundred trials are made."""


def trial_work(replicas: int) -> int:
    """Return the work of a trial of a scenario with so many replicas, when nothing is said."""
    return next(work for most, work in TRIAL_WORKS if most is None or replicas <= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing to change.

    Parameters
    ----------
    field
        Where it stands in the scenario document, as ``shardTypes[t4].maxCount``; ``nodes[a].count`` stands
        for nodes like a.
    unit
        Of the values: as ``rules.UNITS`` has them, ``ppm``, ``nodes``, or empty for words.
    before, after
        Its value as it is, and the least relaxed one that was found to do.
    """

    field: str
    unit: str
    before: Value
    after: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """A relaxation: what to change, and what is then placed. A verified plan says so.

    Parameters
    ----------
    changes
        What to change together; empty if the scenario as it is has a plan that places this much.
    placed, refused
        Replicas then.
    cost_microusd_per_h
        What the plan costs then.
    more_microusd_per_h
        That less the cost of the plan in force; machines that are not priced are not in it.
    unpriced_machines
        Nodes more, whose price the scenario does not know.
    proven
        Whether it is proven that one step less of any of its changes does not place as much.
    """

    changes: tuple[Change, ...]
    placed: int
    refused: int
    cost_microusd_per_h: int
    more_microusd_per_h: int
    unpriced_machines: int
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxations:
    """What a search for relaxations found.

    Parameters
    ----------
    wanted, placed
        Replicas in the scenario, and those that the best plan of the scenario as it is places.
    possible
        Replicas that are placed when everything is relaxed; None if that was not tried in time.
    found
        The relaxations, the best first: most placed, then least cost, then fewest and easiest changes.
    beyond
        What is refused even when everything is relaxed, where that was tried.
    trials
        Relaxed scenarios that were solved.
    complete
        Whether everything that was meant to be tried was, within the time.
    """

    wanted: int
    placed: int
    possible: int | None
    found: tuple[Relaxed, ...]
    beyond: tuple[Refusal, ...]
    trials: int
    complete: bool


def relax(
    scenario: Scenario,
    plan: Plan | None = None,
    options: SolveOptions | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock = time.monotonic,
) -> Relaxations:
    """Return the least changes of a scenario that place what is refused.

    Parameters
    ----------
    scenario
        What is asked.
    plan
        A plan of it; without one the scenario is planned first.
    options
        The budget: ``work`` of each trial (``trial_work`` if not told; the first plan gets the default of a
        plan), ``time_limit_ms`` of all together. What was found when the time is up is returned.
    progress
        Told where each trial stands.
    clock
        For the time limit.
    """
    told = options or SolveOptions()
    work = told.work or trial_work(sum(model.replicas for model in scenario.models))
    budget = SolveOptions(seed=told.seed, work=work, time_limit_ms=told.time_limit_ms, workers=told.workers)
    return _Search(scenario, Trials(scenario, budget, progress=progress, clock=clock)).run(plan, told)


class _Search:
    """One search: the trials, the goal and what was found."""

    def __init__(self, scenario: Scenario, trials: Trials) -> None:
        self.trials = trials
        self.base = NO_PLAN
        self.wanted = sum(model.replicas for model in scenario.models)
        self.goal: Rank = ()
        self.everything: Outcome | None = None
        self.found: dict[tuple[tuple[int, int], ...], Relaxed] = {}

    def run(self, plan: Plan | None, first: SolveOptions) -> Relaxations:
        """Search, and return what was found when it ended or the time was up.

        Parameters
        ----------
        plan
            The plan in force; None is none.
        first
            The budget of the first plan where there is none.
        """
        complete = True
        try:
            if self._is_all(self._start(plan, first)):
                self.everything = self.base
            else:
                self._search()
        except TimeIsUpError:
            complete = False
        return Relaxations(
            wanted=self.wanted,
            placed=sum(self.base.rank),
            possible=None if self.everything is None else max(sum(self.everything.rank), sum(self.goal)),
            found=tuple(sorted(self.found.values(), key=_order)),
            beyond=() if self.everything is None else self.everything.refusals,
            trials=self.trials.count,
            complete=complete,
        )

    def _start(self, given: Plan | None, first: SolveOptions) -> Outcome:
        """Plan the scenario as it is, from the plan in force, and begin with the better of the two."""
        if given is not None:
            self.base = self.trials.outcome(given, {})
            self.trials.start(given, self.base)
            if self._is_all(self.base):
                return self.base
        options = first if given is None else None
        again = self.trials.plan(self.trials.scenario, base=given, options=options)
        outcome = NO_PLAN if again is None else self.trials.outcome(again, {})
        if given is not None and outcome.rank > self.base.rank:
            self._note({}, outcome)  # nothing has to change, only to be planned again
        if given is None or outcome.rank >= self.base.rank:
            self.base = outcome
            self.trials.start(again, outcome)
        return self.base

    def _is_all(self, outcome: Outcome) -> bool:
        return outcome.cost_microusd_per_h is not None and sum(outcome.rank) == self.wanted

    # -------------------------------------------------------------------------------- which levers are enough

    def _search(self) -> None:
        positions = range(len(self.trials.levers))
        self.everything = self.trials.solve(self._open(positions))
        self.goal = self.everything.rank
        alone: dict[int, Outcome] = {}
        for position in positions:
            alone[position] = outcome = self.trials.solve(self._open((position,)))
            self.goal = max(self.goal, outcome.rank)
            if outcome.rank >= self.goal > self.base.rank:
                self._least((position,), self.goal)
        if self.goal > self.base.rank and all(outcome.rank < self.goal for outcome in alone.values()):
            self._together(positions)
        self._partly(alone)

    def _together(self, positions: Sequence[int]) -> None:
        """Look for several levers that reach the goal where none does alone."""
        needed = [one for one in positions if not self._reach(other for other in positions if other != one)]
        if self._reach(needed):
            self._least(needed, self.goal)
            return
        enough = self._irreducible(positions)
        self._least(enough, self.goal)
        for pair in itertools.combinations(positions, 2):
            if set(needed) <= set(pair) and set(enough) & set(pair) and self._reach(pair):
                self._least(pair, self.goal)

    def _irreducible(self, positions: Sequence[int]) -> list[int]:
        """Return levers that reach the goal and none of which can be left alone: the easiest stay."""
        kept = list(positions)
        for position in sorted(positions, key=lambda p: (-self.trials.levers[p].burden, -p)):
            fewer = [other for other in kept if other != position]
            if self._reach(fewer):
                kept = fewer
        return kept

    def _partly(self, alone: dict[int, Outcome]) -> None:
        """Find the least of what helps alone, though it does not place everything."""
        for position, outcome in sorted(alone.items(), key=lambda item: item[1].rank, reverse=True):
            if self.base.rank < outcome.rank < self.goal:
                self._least((position,), outcome.rank)

    def _reach(self, positions: Iterable[int]) -> bool:
        return self.trials.solve(self._open(positions)).rank >= self.goal

    def _open(self, positions: Iterable[int]) -> dict[int, int]:
        return {position: self.trials.levers[position].steps for position in positions}

    # ------------------------------------------------------------------------------------ the least that does

    def _least(self, positions: Iterable[int], goal: Rank) -> None:
        """Find the least steps of some levers that reach a goal, the most burdensome first, and note them."""
        steps = self._open(positions)
        outcome = self.trials.solve(steps)
        needed: dict[int, int] = {}
        try:
            for position in sorted(steps, key=lambda p: -self.trials.levers[p].burden):
                needed[position], guess = self._needed(steps, position, goal)
                for fewer, enough in self._fewer(steps, position, goal, between=(needed[position], guess)):
                    steps, outcome = fewer, enough
            proven = all(self._is_least(steps, p, goal, needed=needed[p]) for p in steps)
        except TimeIsUpError:
            self._note(steps, outcome)
            raise
        self._note(steps, outcome, proven=proven)

    def _needed(self, steps: dict[int, int], position: int, goal: Rank) -> tuple[int, int | None]:
        """Return how many steps of a lever are proven to be needed, and how many may be enough."""
        lever = self.trials.levers[position]
        if lever.is_cost:
            outcome, unit = self.trials.solve(steps), 1
        elif lever.weigh is not None and steps[position] > 1:
            outcome, unit = self.trials.weigh(steps, position), MICROUSD
        else:
            return 1, None
        if outcome.rank != goal or outcome.bound_microusd_per_h is None:
            return 1, None
        before = lever.value(0)
        assert isinstance(before, int)
        return max(1, -(-outcome.bound_microusd_per_h // unit) - before), outcome.used.get(position)

    def _fewer(
        self, steps: dict[int, int], position: int, goal: Rank, *, between: tuple[int, int | None]
    ) -> Iterator[tuple[dict[int, int], Outcome]]:
        """Yield fewer and fewer steps of one lever that reach the goal, by binary search.

        What a plan did not make use of is not needed. Of the cost limit the cheapest plan tells the least.
        """
        outcome, least = self.trials.solve(steps), between[0] - 1
        steps = {**steps, position: outcome.used.get(position, 0)}
        yield steps, outcome
        middle = between[1] or (least + steps[position]) // 2
        while steps[position] - least > 1 and not self.trials.levers[position].is_cost:
            middle = min(max(middle, least + 1), steps[position] - 1)
            tried = self.trials.solve({**steps, position: middle})
            if tried.rank >= goal:
                steps = {**steps, position: tried.used.get(position, 0)}
                yield steps, tried
            else:
                least = middle
            middle = (least + steps[position]) // 2

    def _is_least(self, steps: dict[int, int], position: int, goal: Rank, *, needed: int) -> bool:
        """Return whether it is proven that one step less of a lever does not reach the goal."""
        if self.trials.levers[position].is_cost or steps[position] <= needed > 1:
            return steps[position] <= needed
        fewer = self.trials.solve({**steps, position: max(0, steps[position] - 1)})
        return fewer.is_most and fewer.rank < goal

    def _note(self, steps: dict[int, int], outcome: Outcome, *, proven: bool = False) -> None:
        taken = {position: step for position, step in sorted(steps.items()) if step}
        levers = self.trials.levers
        cost = outcome.cost_microusd_per_h or 0
        self.found[tuple(taken.items())] = Relaxed(
            changes=tuple(_change(levers[position], step) for position, step in taken.items()),
            placed=sum(outcome.rank),
            refused=self.wanted - sum(outcome.rank),
            cost_microusd_per_h=cost,
            more_microusd_per_h=cost - (self.base.cost_microusd_per_h or 0),
            unpriced_machines=sum(step for position, step in taken.items() if levers[position].machines),
            proven=proven and bool(taken),
        )


def _change(lever: Lever, step: int) -> Change:
    return Change(field=lever.field, unit=lever.unit, before=lever.value(0), after=lever.value(step))


def _order(item: Relaxed) -> tuple[object, ...]:
    """Return what is smaller for the better relaxation."""
    return (
        -item.placed,
        item.unpriced_machines,
        item.more_microusd_per_h,
        len(item.changes),
        tuple(change.field for change in item.changes),
    )
