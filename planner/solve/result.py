"""From a packing to the domain's placement and plan: names, order, status."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter

import numpy as np

from planner import __version__
from planner.domain.canonical import sha256_of
from planner.domain.difference import count_gone, count_moves
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Bound, Budget, Moves, Plan, Refusal, Status
from planner.domain.references import in_group
from planner.domain.scenario import Scenario
from planner.solve.packing import Packing, Resident


def placement_of(packing: Packing) -> Placement:
    """Return the placement of a packing; shards without a name get the free ones in a stable order."""
    names = _shard_names(packing)
    scenario = packing.problem.scenario
    shards = tuple(
        Shard(
            name=names[row],
            shard_type=scenario.shard_types[opening.shard_type].name,
            node=None if opening.node is None else scenario.nodes[opening.node].name,
            node_devices=opening.positions,
        )
        for row, opening in ((row, packing.opened[row]) for row in packing.open_rows())
    )
    return Placement(
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
        placed=tuple(sorted(_placed(packing, names), key=attrgetter("model", "replica"))),
    )


def _placed(packing: Packing, names: dict[int, str]) -> Iterator[Placed]:
    problem = packing.problem
    models, units = problem.scenario.models, problem.units
    everyone = [(row, one) for row in packing.open_rows() for one in packing.residents[row]]
    for (row, one), option in zip(everyone, _options(packing, everyone), strict=True):
        yield Placed(
            model=models[one.model].name,
            replica=units[one.unit].replica,
            shard=names[row],
            devices=one.devices,
            option=option,
        )


def _options(packing: Packing, everyone: list[tuple[int, Resident]]) -> list[int]:
    """Return the index of the footprint that everyone runs under."""
    problem = packing.problem
    shard_type = packing.type_of[np.array([row for row, _ in everyone], dtype=np.int64)]
    kind = problem.kind[np.array([one.model for _, one in everyone], dtype=np.int64)]
    rank = np.array([one.rank for _, one in everyone], dtype=np.int64)
    options: list[int] = np.stack([mode.option for mode in problem.modes])[rank, kind, shard_type].tolist()
    return options


def _shard_names(packing: Packing) -> dict[int, str]:
    """Return the name of every open row: kept names stay, the others follow type and first resident."""
    scenario = packing.problem.scenario
    given = {row: name for row in packing.open_rows() if (name := packing.names[row]) is not None}
    used = set(given.values()) | {model.pin.shard for model in scenario.models if model.pin}
    waiting = defaultdict(list)
    for row in packing.open_rows():
        if row not in given:
            waiting[scenario.shard_types[packing.opened[row].shard_type].group].append(row)
    for group, rows in sorted(waiting.items()):
        free = (name for name in _names_of(group) if name not in used)
        for row in sorted(rows, key=lambda row: _key(packing, row)):
            given[row] = next(free)
            assert in_group(given[row], group)
            used.add(given[row])
    return given


def _key(packing: Packing, row: int) -> tuple[int, int, tuple[int, ...], int, int]:
    """Return what orders new shards: type, node, then the first of their models by name."""
    opening = packing.opened[row]
    first = min(((item.model, item.unit) for item in packing.residents[row]), default=(2**62, 0))
    return (opening.shard_type, -1 if opening.node is None else opening.node, opening.positions, *first)


def _names_of(group: str) -> Iterator[str]:
    yield group
    number = 1
    while True:
        yield f"{group}-{number}"
        number += 1


def plan_of(packing: Packing, bound: Bound, refused: tuple[Refusal, ...], budget: Budget) -> Plan:
    """Return the plan that a packing is, made from nothing with the seed 0, within its budget."""
    scenario = packing.problem.scenario
    return Plan(
        name=scenario.name,
        namespace=scenario.namespace,
        scenario_sha256=sha256_of(scenario),
        seed=0,
        budget=budget,
        stopped_by_clock=False,
        versions=versions(),
        status=_status(packing, bound, proven=all(item.proven for item in refused)),
        placement=placement_of(packing),
        cost_microusd_per_h=packing.cost,
        bound=bound,
        refusals=refused,
    )


def from_base(plan: Plan, scenario: Scenario, base: Plan, at_least: int) -> Plan:
    """Return a plan with what it moves of an earlier one.

    At least so many moves are needed; what the plan refuses of the earlier one is taken off them.
    """
    old, new = base.placement, plan.placement
    gone = count_gone(old, new, {model.name: model.replicas for model in scenario.models})
    moves = Moves(count=count_moves(old, new), at_least=max(0, at_least - gone))
    return dataclasses.replace(plan, base_sha256=sha256_of(base), moves=moves)


def _status(packing: Packing, bound: Bound, *, proven: bool) -> Status:
    """Return what is proven: of all that can be placed at all, or that nothing can."""
    if not proven:
        return "feasible"
    if packing.row_of_unit and all(row is None for row in packing.row_of_unit):
        return "infeasible"
    return "optimal" if packing.cost == bound.microusd_per_h else "feasible"


def versions() -> tuple[tuple[str, str], ...]:
    """Return the programs that make a plan, and their versions."""
    try:
        engine = version("ortools")
    except PackageNotFoundError:
        engine = "none"
    return (("ortools", engine), ("shardpack", __version__))
