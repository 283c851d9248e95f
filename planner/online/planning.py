"""From a plan and a scenario that has grown to a plan of it in which nothing has moved."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from planner import __version__
from planner.domain.canonical import sha256_of
from planner.domain.difference import count_moves
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement
from planner.domain.plan import Budget, Moves, Plan, Refusal
from planner.domain.scenario import Scenario
from planner.domain.services import Service, beside, stand_services, used_services, without_shards
from planner.domain.verify import cost_microusd_per_h, verify, verify_placement
from planner.errors import InputError, VerificationError
from planner.online.placer import Outcome, Placer, place_all

_MOST_VIOLATIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A plan that has grown.

    Parameters
    ----------
    plan
        The new plan, verified.
    outcome
        What became of the models that were to be placed.
    gone
        Replicas of the earlier plan that the scenario does not want any more.
    """

    plan: Plan
    outcome: Outcome
    gone: tuple[Placed, ...]


def missing_models(scenario: Scenario, base: Plan) -> dict[str, int]:
    """Return how many replicas an earlier plan lacks of each model that it lacks some of."""
    known = {model.name: model.replicas for model in scenario.models}
    placed = Counter(item.model for item in base.placement.placed if item.replica < known.get(item.model, 0))
    return {name: count - placed[name] for name, count in known.items() if count > placed[name]}


def grow_plan(scenario: Scenario, base: Plan, *, only: Collection[str] | None = None) -> Grown:
    """Return a plan with what an earlier one places, and places for what it lacks; nothing else is moved.

    Parameters
    ----------
    scenario
        As it is now.
    base
        A plan of it as it was. What it places of models that are gone is left out.
    only
        Names of the models to place; None is all that the plan lacks. The others may lack only replicas
        that the plan refused already.

    Raises
    ------
    ValueError
        A model that is not to be placed lacks replicas that the plan did not refuse.
    VerificationError
        What the plan places breaks a rule of the scenario as it is now, or there is no room beside its shards
        for a transformer that comes into use.
    """
    kept, gone = _kept(scenario, base)
    broken = verify_placement(scenario, kept)
    if broken:
        lines = "; ".join(map(str, broken[:_MOST_VIOLATIONS]))
        raise VerificationError(f"what it places breaks rules of the scenario as it is now: {lines}")
    missing = missing_models(scenario, base)
    wanted = missing if only is None else {name: count for name, count in missing.items() if name in only}
    refused = _refused_before(base, {name: missing[name] for name in missing.keys() - wanted.keys()})
    placer = Placer(scenario, kept)
    outcome = place_all(placer, (model for model in scenario.models if model.name in wanted))
    plan = _plan(scenario, base, placer.placement(), (*refused, *outcome.refused))
    broken = verify(scenario, plan)
    if broken:
        raise VerificationError(
            "placing made an illegal plan: " + "; ".join(map(str, broken[:_MOST_VIOLATIONS]))
        )
    return Grown(plan=plan, outcome=outcome, gone=gone)


def _kept(scenario: Scenario, base: Plan) -> tuple[Placement, tuple[Placed, ...]]:
    """Return what an earlier plan places that is still wanted, and what is not."""
    models: dict[str, Model] = {model.name: model for model in scenario.models}
    kept: list[Placed] = []
    gone: list[Placed] = []
    for item in base.placement.placed:
        model = models.get(item.model)
        (kept if model is not None and item.replica < model.replicas else gone).append(item)
    return dataclasses.replace(base.placement, placed=tuple(kept)), tuple(gone)


def _refused_before(base: Plan, missing: dict[str, int]) -> Iterable[Refusal]:
    """Return the earlier plan's refusals of models that stay unplaced; every one has to have them."""
    told = [refusal for refusal in base.refusals if refusal.model in missing]
    counted: Counter[str] = Counter()
    for refusal in told:
        counted[refusal.model] += refusal.replicas
    new = sorted(name for name, count in missing.items() if counted[name] != count)
    if new:
        raise ValueError(
            f"the plan lacks {', '.join(new[:5])} too: name all that are new, or none for all of them"
        )
    return told


def _services(scenario: Scenario, base: Plan, placement: Placement) -> tuple[Service, ...]:
    """Return the services that a placement needs: those of the earlier plan, and others in what is left.

    Raises
    ------
    VerificationError
        Too little is left.
    """
    used = set(used_services(scenario, placement))
    known = {node.name for node in scenario.nodes}
    pods = {item.name: item.replicas if known else 0 for item in scenario.transformers}
    kept = tuple(
        item
        for item in base.services
        if (item.group, item.transformer) in used
        and len(item.nodes) == pods[item.transformer]
        and known.issuperset(item.nodes)
    )
    new = used - {(item.group, item.transformer) for item in kept}
    try:
        stood = stand_services(without_shards(beside(scenario, kept), placement), new)
    except InputError as error:
        raise VerificationError(f"a transformer comes into use, and nothing may move: {error}") from error
    return tuple(sorted((*kept, *stood)))


def _plan(scenario: Scenario, base: Plan, placement: Placement, refused: Iterable[Refusal]) -> Plan:
    services = _services(scenario, base, placement)
    return Plan(
        name=scenario.name,
        namespace=scenario.namespace,
        scenario_sha256=sha256_of(scenario),
        seed=base.seed,
        budget=Budget(work=base.budget.work, workers=1),
        stopped_by_clock=False,
        versions=(("shardpack", __version__),),
        status="feasible",
        placement=placement,
        cost_microusd_per_h=cost_microusd_per_h(scenario, placement, services),
        bound=None,
        refusals=tuple(sorted(refused, key=lambda item: (item.model, item.rule.value, item.subject))),
        base_sha256=sha256_of(base),
        moves=Moves(count=count_moves(base.placement, placement), at_least=0),
        services=services,
    )
