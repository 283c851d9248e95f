"""A plan: a placement with its cost, its bound, what was refused and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from planner.domain.canonical import OMITTED_WHEN_EMPTY
from planner.domain.placement import Placement
from planner.domain.rules import Rule
from planner.domain.services import Service

Status = Literal["optimal", "feasible", "infeasible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why some replicas of a model were not placed. Data, not text.

    Parameters
    ----------
    model
        Which.
    replicas
        How many of its replicas were refused, at least 1.
    rule
        The rule that stands against it.
    subject
        What the rule is about: a shard type, a node, a device class, a tenant, a shard's name.
    need, have
        The two numbers that do not fit, in the rule's unit (``rules.UNITS``); None where the rule has none.
    proven
        Whether it is proven that no plan could place it, or none could without refusing as much instead;
        otherwise the search found no room.
    """

    model: str
    replicas: int
    rule: Rule
    subject: str
    need: int | None = None
    have: int | None = None
    proven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """No plan that places as much costs less than this.

    Where services stand on nodes: no such plan that leaves them where they stand.

    Parameters
    ----------
    microusd_per_h
        The lower bound.
    method
        How it was found, as ``fluid-lp`` or ``integer-fluid``.
    """

    microusd_per_h: int
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What a plan moves of the one it was to stay close to (``difference.count_moves``).

    Parameters
    ----------
    count
        Replicas that have another seat than they had.
    at_least
        No plan that places as many of the earlier plan's replicas moves fewer; 0 is always true.
    """

    count: int
    at_least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much work the solver was allowed.

    Parameters
    ----------
    work
        Deterministic work units (see ``solve.options``).
    time_limit_ms
        The safety stop by the clock; None is none.
    workers
        Threads; only 1 promises equal bytes.
    """

    work: int
    time_limit_ms: int | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A verified plan.

    Parameters
    ----------
    name, namespace
        The scenario's.
    scenario_sha256
        Hash of the resolved scenario (``domain.canonical``).
    seed, budget
        What the solver was given.
    stopped_by_clock
        Whether the safety stop ended the search, which voids the promise of equal bytes.
    versions
        Of shardpack and the solver, sorted by name.
    status
        ``optimal`` and ``infeasible`` are proofs: of the cost, or that nothing at all can be placed.
    placement
        Where everything is.
    cost_microusd_per_h
        What it costs.
    bound
        A lower bound of the cost of placing as much; None is "no bound".
    refusals
        What is not placed, sorted by model.
    base_sha256
        Hash of the plan that this one was asked to stay close to; None if there was none.
    moves
        What it moves of that plan; None if there was none.
    services
        The transformers that stand for its groups, sorted.
    """

    name: str
    namespace: str
    scenario_sha256: str
    seed: int
    budget: Budget
    stopped_by_clock: bool
    versions: tuple[tuple[str, str], ...]
    status: Status
    placement: Placement
    cost_microusd_per_h: int
    bound: Bound | None
    refusals: tuple[Refusal, ...]
    base_sha256: str | None = None
    moves: Moves | None = None
    services: tuple[Service, ...] = field(default=(), metadata=OMITTED_WHEN_EMPTY)


def gap_ratio(plan: Plan) -> float | None:
    """Return ``(cost - bound) / cost``; 0 when both are 0, None without a bound."""
    if plan.bound is None:
        return None
    if plan.cost_microusd_per_h == 0:
        return 0.0
    return (plan.cost_microusd_per_h - plan.bound.microusd_per_h) / plan.cost_microusd_per_h
