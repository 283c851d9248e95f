"""Required shards on small random nodes: opened whenever brute force finds a way, and only then."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.errors import InputError
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import GIB, a_node, a_scenario, a_shard_type


@st.composite
def required(draw: st.DrawFn) -> Scenario:
    """Up to six shards that are asked for, of three types, and up to three nodes of several sizes."""
    types = tuple(
        a_shard_type(
            f"t-{index}",
            provision="existing",
            price=0,
            device_count=draw(st.integers(1, 2)),
            cpu_milli=draw(st.integers(1, 6)) * 1_000,
            memory_bytes=draw(st.integers(1, 6)) * GIB,
            min_count=draw(st.integers(0, 2)),
        )
        for index in range(3)
    )
    nodes = tuple(
        a_node(
            f"n-{index}",
            gpus=draw(st.integers(1, 4)),
            cpu_milli=draw(st.integers(4, 12)) * 1_000,
            memory_bytes=draw(st.integers(4, 12)) * GIB,
            pods=draw(st.sampled_from((None, 2))),
        )
        for index in range(draw(st.integers(1, 3)))
    )
    return a_scenario(types=types, nodes=nodes)


def is_possible(scenario: Scenario) -> bool:
    """Whether some way to put each required shard on a node overloads none, by trying all."""
    shards = [item for item in scenario.shard_types for _ in range(item.min_count)]
    for chosen in itertools.product(range(len(scenario.nodes)), repeat=len(shards)):
        there = [
            [item for item, at in zip(shards, chosen, strict=True) if at == index]
            for index in range(len(scenario.nodes))
        ]
        if all(
            sum(item.device_count for item in items) <= len(node.devices)
            and sum(item.cpu_milli for item in items) <= node.cpu_milli
            and sum(item.memory_bytes for item in items) <= node.memory_bytes
            and len(items) <= (len(items) if node.pods is None else node.pods)
            for node, items in zip(scenario.nodes, there, strict=True)
        ):
            return True
    return False


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(required())
def test_required_shards_are_opened_whenever_the_nodes_can_hold_them(scenario: Scenario) -> None:
    try:
        plan = make_plan(scenario, SolveOptions(work=1))
    except InputError:
        assert not is_possible(scenario)
        return
    assert verify(scenario, plan) == ()
    assert is_possible(scenario)
