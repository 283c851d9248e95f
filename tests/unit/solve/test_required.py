"""The shards that ``minCount`` asks for on nodes: all of them where that is possible, and out of the way."""

from __future__ import annotations

from collections import Counter

import pytest

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.errors import InputError
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models


def on_nodes(name: str, *, gpus: int = 1, cpu: int = 1_000, least: int = 0) -> object:
    """A shard type on nodes."""
    return a_shard_type(
        name, provision="existing", price=0, device_count=gpus, cpu_milli=cpu, min_count=least
    )


def plan_of(scenario: Scenario, base: Plan | None = None) -> Plan:
    plan = make_plan(scenario, SolveOptions(work=5), base=base)
    assert verify(scenario, plan) == ()
    return plan


def test_a_large_shard_that_is_asked_for_gets_the_node_that_alone_holds_it() -> None:
    types = (on_nodes("one", least=1), on_nodes("two", gpus=2, least=1))
    nodes = (a_node("n-0", gpus=2), a_node("n-1", gpus=1))
    plan = plan_of(a_scenario(*models(3, an_option(gpu=5 * GIB)), types=types, nodes=nodes))
    assert not plan.refusals
    assert {shard.shard_type: shard.node for shard in plan.placement.shards} == {"one": "n-1", "two": "n-0"}


def test_small_shards_that_are_asked_for_leave_the_large_nodes_to_others() -> None:
    types = (on_nodes("one", least=8), on_nodes("two", gpus=2))
    nodes = (*(a_node(f"a-{i}", gpus=2) for i in range(8)), *(a_node(f"b-{i}", gpus=1) for i in range(8)))
    wide = models(8, an_option(gpu=5 * GIB), prefix="wide", devices_per_replica=2)
    plan = plan_of(a_scenario(*wide, *models(8, an_option(gpu=15 * GIB)), types=types, nodes=nodes))
    assert not plan.refusals
    assert Counter(shard.shard_type for shard in plan.placement.shards) == {"one": 8, "two": 8}


FOURS_AND_THREES = (on_nodes("four", cpu=4_000, least=2), on_nodes("three", cpu=3_000, least=4))


def test_where_the_best_fit_leaves_one_out_all_counts_are_decided_together() -> None:
    nodes = tuple(a_node(f"n-{i}", gpus=4, cpu_milli=10_000) for i in range(2))
    plan = plan_of(a_scenario(a_model(), types=FOURS_AND_THREES, nodes=nodes))
    assert Counter((shard.node, shard.shard_type) for shard in plan.placement.shards) == {
        (f"n-{i}", name): count for i in range(2) for name, count in (("four", 1), ("three", 2))
    }


def test_what_no_nodes_hold_is_still_bad_input() -> None:
    nodes = (a_node("n-0", gpus=4, cpu_milli=10_000), a_node("n-1", gpus=4, cpu_milli=9_000))
    message = "'three' asks for 4 shards, but only 3 can be opened: the nodes have no room for more"
    with pytest.raises(InputError, match=message):
        plan_of(a_scenario(a_model(), types=FOURS_AND_THREES, nodes=nodes))


def test_a_plan_in_force_that_leaves_no_room_for_what_is_asked_for_now_is_made_anew() -> None:
    nodes = (a_node("n-0", gpus=2), a_node("n-1", gpus=1))
    wanted = models(2, an_option(gpu=15 * GIB))
    before = plan_of(a_scenario(*wanted, types=(on_nodes("one"), on_nodes("two", gpus=2)), nodes=nodes[:1]))
    assert {shard.node for shard in before.placement.shards} == {"n-0"}
    types = (on_nodes("one"), on_nodes("two", gpus=2, least=1))
    plan = plan_of(a_scenario(*wanted, types=types, nodes=nodes), base=before)
    assert not plan.refusals
