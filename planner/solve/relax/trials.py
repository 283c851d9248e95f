"""Trials: the scenario with some levers relaxed, really solved, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from planner.domain.plan import Plan, Refusal
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.progress import Progress
from planner.solve.relax.lever import Lever
from planner.solve.relax.levers import levers_of, relaxed_scenario, weighed_scenario
from planner.solve.watch import Clock, Watch

Steps = tuple[tuple[int, int], ...]
"""(position of a lever, steps), sorted, without levers at 0."""

Rank = tuple[int, ...]
"""Replicas placed of each priority, the highest first; more is better. Empty: no plan at all."""


class TimeIsUpError(Exception):
    """The clock ended the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trial came to.

    Parameters
    ----------
    rank
        What its plan places.
    is_most
        Whether it is proven that no plan places more, priority by priority.
    cost_microusd_per_h
        Of the plan; None where the relaxed scenario still allows none.
    bound_microusd_per_h
        No plan that places as much costs less; None is no bound.
    refusals
        What the plan refuses.
    used
        The steps that the plan makes use of, by the lever's position; less than what was allowed, or as much.
    """

    rank: Rank
    is_most: bool
    cost_microusd_per_h: int | None
    bound_microusd_per_h: int | None = None
    refusals: tuple[Refusal, ...] = ()
    used: Mapping[int, int]


NO_PLAN = Outcome(rank=(), is_most=False, cost_microusd_per_h=None, used={})


class Trials:
    """Solves relaxed scenarios and remembers what came of them.

    Parameters
    ----------
    scenario
        What is asked.
    options
        The budget: ``work`` of each trial, ``time_limit_ms`` of all together.
    progress
        Told where each trial stands.
    clock
        For the time limit.
    """

    def __init__(
        self,
        scenario: Scenario,
        options: SolveOptions,
        *,
        progress: Callable[[Progress], None] | None,
        clock: Clock,
    ) -> None:
        self.scenario, self.options = scenario, options
        self.base: Plan | None = None
        self.levers: tuple[Lever, ...] = ()
        self.count = 0
        self._progress, self._clock = progress, clock
        self._watch = Watch(clock, options.time_limit_ms)
        self._known: dict[Steps, Outcome] = {}

    def start(self, base: Plan | None, outcome: Outcome) -> None:
        """Start all trials from the best plan of the scenario as it is, which tells what may be relaxed."""
        self.base, self.levers = base, levers_of(self.scenario, base)
        self._known[()] = outcome

    def solve(self, steps: Mapping[int, int]) -> Outcome:
        """Return what comes of relaxing some levers, by their positions, by so many steps.

        Raises
        ------
        TimeIsUpError
            Before or while it was tried.
        """
        key = tuple(sorted((position, step) for position, step in steps.items() if step))
        if key not in self._known:
            plan = self.plan(relaxed_scenario(self.scenario, self.levers, dict(key)), told=self._title(key))
            self._known[key] = NO_PLAN if plan is None else self.outcome(plan, dict(key))
        return self._known[key]

    def weigh(self, steps: Mapping[int, int], position: int) -> Outcome:
        """Return what comes of steps where a plan takes the least of one lever, not the least money.

        Its cost and bound are in what is weighed, a million times. It may be above the cost limit.

        Raises
        ------
        TimeIsUpError
            Before or while it was tried.
        """
        lever = self.levers[position]
        assert lever.weigh is not None
        relaxed = relaxed_scenario(self.scenario, self.levers, steps)
        scenario = weighed_scenario(relaxed, lever.weigh, lever.weigh_service)
        plan = self.plan(scenario, told=f"least of {self.levers[position].field}")
        return NO_PLAN if plan is None else self.outcome(plan, steps)

    def plan(
        self,
        scenario: Scenario,
        *,
        told: str = "as it is",
        base: Plan | None = None,
        options: SolveOptions | None = None,
    ) -> Plan | None:
        """Return a plan of a scenario; None if there is none.

        Parameters
        ----------
        scenario
            What is planned.
        told
            What progress says of it.
        base
            The plan to start from; None is that of all trials.
        options
            The budget; None is that of a trial.

        Raises
        ------
        TimeIsUpError
            Before or while it was made.
        """
        if self._watch.is_over():
            raise TimeIsUpError
        self.count += 1
        left = self._watch.left_s()
        limit_ms = None if left is None else max(1, round(1000 * left))
        options = replace(options or self.options, time_limit_ms=limit_ms)
        start = self.base if base is None else base
        try:
            found = make_plan(scenario, options, base=start, progress=self._teller(told), clock=self._clock)
        except InputError:  # ``minCount`` asks for shards that cannot be opened
            return None
        if found.stopped_by_clock and found.refusals:
            raise TimeIsUpError  # it says nothing about what the trial could have placed
        return found

    def outcome(self, plan: Plan, steps: Mapping[int, int]) -> Outcome:
        """Return what a plan of a relaxed scenario says."""
        return Outcome(
            rank=rank_of(self.scenario, plan),
            is_most=all(refusal.proven for refusal in plan.refusals),
            cost_microusd_per_h=plan.cost_microusd_per_h,
            bound_microusd_per_h=None if plan.bound is None else plan.bound.microusd_per_h,
            refusals=plan.refusals,
            used={position: _used(self.levers[position], plan, step) for position, step in steps.items()},
        )

    def _title(self, key: Steps) -> str:
        fields = [self.levers[position].field for position, _ in key]
        return ", ".join(fields[:2]) + (f" and {len(fields) - 2} more" if len(fields) > 2 else "")

    def _teller(self, told: str) -> Callable[[Progress], None] | None:
        tell = self._progress
        if tell is None:
            return None
        title = f"trial {self.count}: {told}"
        return lambda progress: tell(replace(progress, phase=title, bound_microusd_per_h=None))


def _used(lever: Lever, plan: Plan, step: int) -> int:
    return step if lever.used is None else min(step, max(0, lever.used(plan)))


def rank_of(scenario: Scenario, plan: Plan) -> Rank:
    """Return how many replicas of each priority a plan places, the highest priority first."""
    priority = {model.name: model.priority for model in scenario.models}
    placed = dict.fromkeys(sorted(set(priority.values()), reverse=True), 0)
    for item in plan.placement.placed:
        placed[priority[item.model]] += 1
    return tuple(placed.values())
