"""What loads take: the sums, and how many models that makes a shard's default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.domain.fleet import LoadCost, Runtime
from planner.domain.loading import (
    MOST_FILL_NS,
    ShardLoads,
    change_loads,
    default_max_models,
    loads_ns,
    start_loads,
    start_ns,
)
from planner.domain.placement import Placement
from planner.domain.scenario import Scenario
from tests.support.builders import a_scenario, a_shard_type, models
from tests.support.plans import a_placement, a_shard, on

COST = LoadCost(each_ns=3_000, per_known_ns=10, at_start_ns=700)


def one_by_one(cost: LoadCost, count: int, known: int) -> int:
    return sum(cost.each_ns + cost.per_known_ns * (known + number) for number in range(count))


@pytest.mark.parametrize(("count", "known"), [(0, 0), (1, 0), (1, 7), (25, 0), (25, 1000)])
def test_every_load_costs_the_more_the_more_models_are_known(count: int, known: int) -> None:
    assert loads_ns(COST, count, known=known) == one_by_one(COST, count, known)


def test_a_start_costs_each_model_the_same_or_is_one_by_one() -> None:
    assert start_ns(COST, 30) == 21_000
    assert start_ns(replace(COST, at_start_ns=None), 30) == one_by_one(COST, 30, 0)


@pytest.mark.parametrize(
    ("each_ns", "per_known_ns"), [(3_000_000, 20_000), (0, 20_000), (5_000_000, 0), (10, 10**9)]
)
def test_the_default_is_the_most_that_fits_into_the_time(each_ns: int, per_known_ns: int) -> None:
    cost = LoadCost(each_ns=each_ns, per_known_ns=per_known_ns)
    most = default_max_models(cost)
    assert most is not None
    assert loads_ns(cost, most) <= MOST_FILL_NS < loads_ns(cost, most + 1)


def test_a_default_holds_at_least_one_model_and_what_a_scenario_can_say() -> None:
    assert default_max_models(LoadCost(each_ns=2 * MOST_FILL_NS)) == 1
    assert default_max_models(LoadCost(each_ns=1)) == 2**31 - 1
    assert default_max_models(LoadCost(each_ns=0)) is None


def fleet(cost: LoadCost | None = COST) -> Scenario:
    return a_scenario(
        *models(4),
        types=(a_shard_type("t"), a_shard_type("u")),
        runtimes=(Runtime(name="triton", loads=cost),),
    )


EVERYWHERE = a_placement(
    a_shard("t"), a_shard("u"), *(on(f"m-{number:03}", "u" if number == 3 else "t") for number in range(4))
)


def test_from_nothing_every_shard_starts_with_its_models() -> None:
    first = ShardLoads(shard="t", count=3, opened=True, start_ns=2_100, one_by_one_ns=one_by_one(COST, 3, 0))
    assert start_loads(fleet(), EVERYWHERE)[0] == first
    assert first.apply_ns == 2_100


def test_a_change_loads_what_comes_to_a_shard_or_to_another_device() -> None:
    before = a_placement(a_shard("t"), on("m-000"), on("m-001", "t", 1), on("m-002"))
    (here, new) = change_loads(fleet(), before, EVERYWHERE)
    assert (here.shard, here.count, here.opened) == ("t", 1, False)
    assert here.apply_ns == here.one_by_one_ns == one_by_one(COST, 1, 2)
    assert (new.shard, new.count, new.opened) == ("u", 1, True)


def test_a_shard_that_changes_is_another_one_and_what_leaves_costs_nothing() -> None:
    moved = replace(EVERYWHERE, shards=(a_shard("t", node="n"), a_shard("u")))
    assert [(item.shard, item.count, item.opened) for item in change_loads(fleet(), EVERYWHERE, moved)] == [
        ("t", 3, True)
    ]
    assert change_loads(fleet(), EVERYWHERE, Placement(shards=EVERYWHERE.shards, placed=())) == ()


def test_servers_whose_cost_is_not_known_are_left_out() -> None:
    assert start_loads(fleet(None), EVERYWHERE) == ()
