"""A few shards of a packing as an assignment problem of their own, small enough for CP-SAT.

What is outside stays: it takes its part of every limit. Replicas are told apart by their unit alone, so each
is numbered 0 here, which charges its entry of ``models.json`` as ``Packing`` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from planner.domain.fleet import ShardType
from planner.domain.scenario import Scenario
from planner.solve.packing import Packing, Resident
from planner.solve.problem import Problem


def part_of(packing: Packing, rows: Sequence[int]) -> tuple[Packing, tuple[int, ...]]:
    """Return some shards that are bought as a packing of their own, and which units its units are.

    The units have to be simple, and no failure domain larger than a shard.
    """
    units = tuple(unit for row in rows for unit in packing.units_in(row))
    problem = dataclasses.replace(
        packing.problem,
        scenario=_rest_of_limits(packing, rows),
        units=tuple(dataclasses.replace(packing.problem.units[unit], replica=0) for unit in units),
    )
    part, number = Packing(problem), {unit: index for index, unit in enumerate(units)}
    for row in rows:
        _copy(packing, row, part, number)
    return part, units


def _rest_of_limits(packing: Packing, rows: Sequence[int]) -> Scenario:
    """Return the scenario with what the other shards take of its limits taken off."""
    scenario, openings = packing.problem.scenario, packing.openings
    inside = [scenario.shard_types[packing.opened[row].shard_type] for row in rows]
    pods = openings.pods - sum(item.replicas for item in inside)
    cost = openings.cost - sum(item.price_microusd_per_h for item in inside)
    shards = openings.shards - len(rows)
    outside = [
        count - sum(packing.opened[row].shard_type == index for row in rows)
        for index, count in enumerate(openings.counts)
    ]
    policy, cluster = scenario.policy, scenario.cluster
    return dataclasses.replace(
        scenario,
        shard_types=tuple(
            _rest_of_type(item, count) for item, count in zip(scenario.shard_types, outside, strict=True)
        ),
        cluster=dataclasses.replace(cluster, max_ips=_less(cluster.max_ips, pods)),
        policy=dataclasses.replace(
            policy,
            max_shards=_less(policy.max_shards, shards),
            max_usd_per_h_microusd=_less(policy.max_usd_per_h_microusd, cost),
        ),
    )


def _rest_of_type(item: ShardType, outside: int) -> ShardType:
    return dataclasses.replace(
        item,
        min_count=max(0, item.min_count - outside),
        max_count=_less(item.max_count, outside) if item.provision == "new" else 0,
    )


def _less(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def replace_part(packing: Packing, rows: Sequence[int], better: Packing, units: Sequence[int]) -> None:
    """Close some shards and open those of another packing of what was in them."""
    for row in rows:
        for unit in packing.units_in(row):
            packing.remove(unit)
        packing.close(row)
    for row in better.open_rows():
        _copy(better, row, packing, dict(enumerate(units)))


def _copy(source: Packing, row: int, target: Packing, number: dict[int, int]) -> None:
    """Open a shard in another packing with the same residents under other numbers."""
    copy = target.open(source.opened[row])
    for unit in source.units_in(row):
        residents = [
            Resident(unit=number[unit], model=item.model, rank=item.rank, devices=item.devices)
            for item in source.residents[row]
            if item.unit == unit
        ]
        restored = target.restore(number[unit], copy, residents)
        assert restored


def may_be_part(problem: Problem) -> bool:
    """Return whether shards may be taken out of a problem at all: failure domains end at the shard."""
    return problem.scenario.policy.spread != "zone"
