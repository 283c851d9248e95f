"""``make_plan``: from a scenario to the best verified plan within a budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from planner import __version__
from planner.domain.canonical import sha256_of
from planner.domain.placement import Placement
from planner.domain.plan import Bound, Budget, Plan, Status
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.errors import VerificationError
from planner.solve.construct import construct, extend
from planner.solve.filling import BALANCED, Style
from planner.solve.guide import Advice, bound_for, make_advice, proved_bound
from planner.solve.heuristics import open_required, placed_by_priority
from planner.solve.improve import Improver
from planner.solve.keeping import close_empty, moves_between, packing_from, release_names, take_names
from planner.solve.options import PROOF_TIME_A_UNIT, Effort, SolveOptions
from planner.solve.packing import Packing
from planner.solve.problem import make_problem
from planner.solve.refuse import refusals
from planner.solve.result import placement_of

_log = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Seconds that only grow."""


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


_DEFAULT_OPTIONS = SolveOptions()
_LARGE_UNITS = 5_000
"""Above so many units only the two most different styles are tried; below, all of them."""

_STYLES = (Style(), BALANCED, Style(reach=3), Style(reach=10), Style(alignment=2.0))
_REPORT_EVERY = 20


def make_plan(
    scenario: Scenario,
    options: SolveOptions = _DEFAULT_OPTIONS,
    *,
    base: Plan | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock = time.monotonic,
) -> Plan:
    """Return the best verified plan that the budget finds.

    Parameters
    ----------
    scenario
        What is asked, and what there is.
    options
        Seed and budget.
    base
        A plan of an earlier version of the scenario: what still holds of it is kept, unless something better
        in the order of ``policy.objective`` is found.
    progress
        Told about every phase and improvement.
    clock
        For the safety stop.

    Raises
    ------
    InputError
        ``minCount`` asks for shards that the scenario's own limits or nodes forbid.
    VerificationError
        The solver made a plan that breaks a rule: a bug.
    """
    search = _Search(scenario, options, base=base, progress=progress, clock=clock)
    plan = search.run()
    broken = verify(scenario, plan)
    if broken:
        raise VerificationError("the solver made an illegal plan: " + "; ".join(map(str, broken[:5])))
    return plan


class _Search:
    """One search: the problem, the advice, and the packings that compete."""

    def __init__(
        self,
        scenario: Scenario,
        options: SolveOptions,
        *,
        base: Plan | None,
        progress: Callable[[Progress], None] | None,
        clock: Clock,
    ) -> None:
        self.options, self.base, self.progress, self.clock = options, base, progress, clock
        self.started, self.stopped = clock(), False
        self.work = options.work
        self.bound: Bound | None = None
        self._tell("read", None)
        self.problem = make_problem(scenario)
        self.advice: Advice = make_advice(self.problem)
        self.rng = np.random.default_rng(options.seed)

    def run(self) -> Plan:
        candidates = []
        if self.base is not None:
            candidates.append(self._kept(self.base.placement))
            loose = self._kept(self.base.placement)
            release_names(loose)
            self._improve(loose, self.work // 2)
            candidates.append(loose)
        fresh = self._fresh()
        self._improve(fresh, self.work)
        best = min((*candidates, fresh), key=self._rank)
        return self._plan(best, self._prove(best))

    def _prove(self, packing: Packing) -> Bound:
        """Return the best bound of what a packing places that the budget allows."""
        placed = placed_by_priority(packing)
        known = bound_for(self.problem, self.advice, placed)
        if self.stopped:
            return known
        self._tell("prove", packing)
        effort = Effort(
            deterministic_time=self.options.work * PROOF_TIME_A_UNIT,
            workers=self.options.workers,
            seed=self.options.seed,
        )
        return proved_bound(packing, self.advice, known, effort)

    # ------------------------------------------------------------------------------------------ candidates

    def _fresh(self) -> Packing:
        styles = _STYLES if len(self.problem.units) <= _LARGE_UNITS else _STYLES[:2]
        best = self._construct(styles[0], by_priority=False)
        complete = len(best.row_of_unit) - best.row_of_unit.count(None)
        if complete < len(best.row_of_unit) and len({unit.priority for unit in self.problem.units}) > 1:
            best = self._better(best, self._construct(styles[0], by_priority=True))
        for style in styles[1:]:
            if self._may_go_on():
                best = self._better(best, self._construct(style, by_priority=False))
        return best

    def _construct(self, style: Style, *, by_priority: bool) -> Packing:
        packing = construct(self.problem, self.advice, style=style, rng=self.rng, by_priority=by_priority)
        self._tell("construct", packing)
        return packing

    def _better(self, one: Packing, other: Packing) -> Packing:
        return min((one, other), key=_placed_and_cost)

    def _kept(self, base: Placement) -> Packing:
        """Return what still holds of the earlier plan, with what is new in it."""
        packing = packing_from(self.problem, base)
        open_required(packing)
        waiting = [unit for unit, row in enumerate(packing.row_of_unit) if row is None]
        extend(packing, waiting, self.advice, style=Style(), rng=self.rng)
        close_empty(packing)
        self._tell("keep", packing)
        return packing

    def _improve(self, packing: Packing, work: int) -> None:
        """Spend some work on rounds of improvement, or less where the bound is met."""
        self.bound = bound_for(self.problem, self.advice, placed_by_priority(packing))
        least, improver = self.work - work, Improver(packing, self.advice)
        while packing.cost > self.bound.microusd_per_h and self.work > least and self._may_go_on():
            if improver.improve(self.rng) and self.work % _REPORT_EVERY == 0:
                self._tell("improve", packing)
        self._tell("improve", packing)

    def _may_go_on(self) -> bool:
        """Count one unit of work; returns whether it may be spent."""
        limit = self.options.time_limit_ms
        if limit is not None and (self.clock() - self.started) * 1000 >= limit:
            self.stopped = True
        self.work -= 1
        return self.work >= 0 and not self.stopped

    # --------------------------------------------------------------------------------------------- results

    def _rank(self, packing: Packing) -> tuple[object, ...]:
        """Return what is smaller for the better packing, in the order of the policy's objective."""
        moves = 0
        if self.base is not None:
            take_names(packing, self.base.placement)
            moves = moves_between(self.base.placement, placement_of(packing))
        placed = tuple(-count for count in placed_by_priority(packing))
        parts = {"placed": placed, "cost": packing.cost, "moves": moves, "balance": 0}
        return tuple(parts[name] for name in self.problem.scenario.policy.objective)

    def _tell(self, phase: str, packing: Packing | None) -> None:
        if self.progress is None:
            return
        self.progress(
            Progress(
                phase=phase,
                cost_microusd_per_h=None if packing is None else packing.cost,
                bound_microusd_per_h=None if self.bound is None else self.bound.microusd_per_h,
                refused=0 if packing is None else _unplaced(packing),
            )
        )

    def _plan(self, packing: Packing, bound: Bound) -> Plan:
        refused = refusals(packing)
        options, scenario = self.options, self.problem.scenario
        return Plan(
            name=scenario.name,
            namespace=scenario.namespace,
            scenario_sha256=sha256_of(scenario),
            seed=options.seed,
            budget=Budget(work=options.work, time_limit_ms=options.time_limit_ms, workers=options.workers),
            stopped_by_clock=self.stopped,
            versions=_versions(),
            status=_status(packing, bound, all(item.proven for item in refused)),
            placement=placement_of(packing),
            cost_microusd_per_h=packing.cost,
            bound=bound,
            refusals=refused,
            base_sha256=None if self.base is None else sha256_of(self.base),
        )


def _placed_and_cost(packing: Packing) -> tuple[tuple[int, ...], int]:
    return tuple(-count for count in placed_by_priority(packing)), packing.cost


def _unplaced(packing: Packing) -> int:
    units = packing.problem.units
    return sum(len(units[unit].members) for unit, row in enumerate(packing.row_of_unit) if row is None)


def _status(packing: Packing, bound: Bound, proven: bool) -> Status:  # noqa: FBT001
    """Return what is proven: of all that can be placed at all, or that nothing can."""
    if not proven:
        return "feasible"
    if packing.row_of_unit and all(row is None for row in packing.row_of_unit):
        return "infeasible"
    return "optimal" if packing.cost == bound.microusd_per_h else "feasible"


def _versions() -> tuple[tuple[str, str], ...]:
    try:
        engine = version("ortools")
    except PackageNotFoundError:
        engine = "none"
    return (("ortools", engine), ("shardpack", __version__))
