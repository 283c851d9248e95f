"""Parts of a packing that CP-SAT assigns anew."""

from __future__ import annotations

import time

import numpy as np

from planner.domain.fleet import Cluster
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.exact.assign import assign
from planner.solve.guide import make_advice
from planner.solve.heuristics import insert_all, price_shares
from planner.solve.improve import Improver
from planner.solve.neighbourhood import part_of, replace_part
from planner.solve.options import Effort
from planner.solve.packing import Packing
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option
from tests.support.fleets import a_fleet

EFFORT = Effort(deterministic_time=2, workers=1, seed=0)
SIZES = (6, 6, 5, 5, 5, 5)
"""GiB: two shards of 16 hold them as 6 + 5 + 5, three if the two of 6 go together."""


def sixes_first(**policy: object) -> tuple[Scenario, Packing]:
    """Models in three shards that would fit into two, and one more shard that is full."""
    small = (a_model(f"m-{index}", an_option(gpu=size * GIB)) for index, size in enumerate(SIZES))
    scenario = a_scenario(*small, a_model("z", an_option(gpu=16 * GIB)), **policy)
    problem = make_problem(scenario)
    packing = Packing(problem)
    for pair in ((0, 1), (2, 3, 4), (5,), (6,)):
        first = packing.open(next(iter(packing.openings.candidates(0))))
        assert all(packing.place_whole(unit, first) for unit in pair)
    return scenario, packing


def test_a_part_is_assigned_anew_and_put_back() -> None:
    scenario, packing = sixes_first()
    part, units = part_of(packing, [0, 1, 2])
    found = assign(part, effort=EFFORT)
    assert found is not None
    assert (part.cost, found.packing.cost) == (3_000_000, 2_000_000)
    replace_part(packing, [0, 1, 2], found.packing, units)
    assert packing.cost == 3_000_000
    assert None not in packing.row_of_unit
    assert verify_placement(scenario, placement_of(packing)) == ()


def test_a_part_has_what_the_other_shards_leave_of_every_limit() -> None:
    types = (a_shard_type(min_count=2, max_count=9, replicas=2),)
    limits = {"max_shards": 7, "max_usd_per_h_microusd": 8_000_000}
    _, packing = sixes_first(types=types, cluster=Cluster(max_ips=20), **limits)
    part, units = part_of(packing, [1, 3])
    rest = part.problem.scenario
    assert (rest.shard_types[0].min_count, rest.shard_types[0].max_count) == (0, 7)
    assert (rest.cluster.max_ips, rest.policy.max_shards) == (16, 5)
    assert rest.policy.max_usd_per_h_microusd == 6_000_000
    assert units == (2, 3, 4, 6)


def test_shards_on_nodes_are_not_opened_in_a_part() -> None:
    types = (a_shard_type(), a_shard_type("own", provision="existing", price=1))
    _, packing = sixes_first(types=types)
    part, _ = part_of(packing, [0, 1])
    assert [item.max_count for item in part.problem.scenario.shard_types] == [None, 0]


def test_reassigning_never_costs_more_and_loses_nothing() -> None:
    scenario = a_fleet(120)
    problem = make_problem(scenario)
    packing, shares = Packing(problem), price_shares(problem)
    insert_all(packing, range(len(problem.units)), shares)
    improver = Improver(packing, make_advice(problem), Watch(time.monotonic))
    rng, costs = np.random.default_rng(0), [packing.cost]
    effort = Effort(deterministic_time=0.5, workers=1, seed=0)
    for _ in range(6):
        better = improver.reassign(rng, effort)
        costs.append(packing.cost)
        assert better == (costs[-1] < costs[-2])
    assert costs[-1] < costs[0]
    assert None not in packing.row_of_unit
    assert verify_placement(scenario, placement_of(packing)) == ()


def test_nothing_is_taken_apart_where_a_failure_domain_is_a_zone() -> None:
    _, packing = sixes_first(spread="zone")
    improver = Improver(packing, make_advice(packing.problem), Watch(time.monotonic))
    assert not improver.reassign(np.random.default_rng(0), EFFORT)
    assert packing.cost == 4_000_000
