"""``make_plan``: from a scenario to the best verified plan within a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from planner import __version__
from planner.domain.canonical import sha256_of
from planner.domain.plan import Bound, Budget, Plan, Status
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.errors import VerificationError
from planner.solve.heuristics import insert_all, largest_first, open_required, price_shares
from planner.solve.options import SolveOptions
from planner.solve.packing import Packing
from planner.solve.problem import Problem, make_problem
from planner.solve.refuse import refusals
from planner.solve.result import placement_of

_log = logging.getLogger(__name__)


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


def make_plan(
    scenario: Scenario,
    options: SolveOptions = _DEFAULT_OPTIONS,
    *,
    base: Plan | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Plan:
    """Return the best verified plan that the budget finds.

    Raises
    ------
    InputError
        ``minCount`` asks for shards that the scenario's own limits or nodes forbid.
    VerificationError
        The solver made a plan that breaks a rule: a bug.
    """
    problem = make_problem(scenario)
    if progress is not None:
        progress(Progress(phase="construct", cost_microusd_per_h=None, bound_microusd_per_h=None, refused=0))
    shares = price_shares(problem)
    packing = Packing(problem)
    open_required(packing)
    insert_all(packing, largest_first(problem, shares), shares)
    plan = _plan(problem, packing, options, base=base, bound=None)
    broken = verify(scenario, plan)
    if broken:
        raise VerificationError("the solver made an illegal plan: " + "; ".join(map(str, broken[:5])))
    return plan


def _plan(
    problem: Problem, packing: Packing, options: SolveOptions, *, base: Plan | None, bound: Bound | None
) -> Plan:
    refused = refusals(packing)
    nothing = bool(refused) and all(row is None for row in packing.row_of_unit)
    status: Status = "infeasible" if nothing and all(item.proven for item in refused) else "feasible"
    return Plan(
        name=problem.scenario.name,
        namespace=problem.scenario.namespace,
        scenario_sha256=sha256_of(problem.scenario),
        seed=options.seed,
        budget=Budget(work=options.work, time_limit_ms=options.time_limit_ms, workers=options.workers),
        stopped_by_clock=False,
        versions=_versions(),
        status=status,
        placement=placement_of(packing),
        cost_microusd_per_h=packing.cost,
        bound=bound,
        refusals=refused,
        base_sha256=None if base is None else sha256_of(base),
    )


def _versions() -> tuple[tuple[str, str], ...]:
    try:
        engine = version("ortools")
    except PackageNotFoundError:
        engine = "none"
    return (("ortools", engine), ("shardpack", __version__))
