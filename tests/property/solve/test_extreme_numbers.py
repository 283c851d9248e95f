"""Amounts of any size beside each other: every plan verifies, accounts for all, and its bound is one."""

from __future__ import annotations

import warnings

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.fleet import Backend, NodeDevice, Runtime, ShardType
from planner.domain.model import Model
from planner.domain.policy import Headroom
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import GPU, a_model, a_node, a_scenario, a_shard_type, an_option
from tests.support.hard_scenarios import LARGEST

_AMOUNTS = st.sampled_from((0, 1, 3, 1000, 2**31 - 1, 2**31, 2**40 + 1, 2**58, 2**59 - 1, 2**59, LARGEST))
_PRICES = st.sampled_from((0, 1, 7, 999_999, 10**6, 10**12, 2**53))
_PPM = st.sampled_from((0, 1, 999_999, 1_000_000))


@st.composite
def _models(draw: st.DrawFn, index: int) -> Model:
    steady = draw(_AMOUNTS)
    option = an_option(
        gpu=steady,
        peak=max(steady, draw(_AMOUNTS)),
        milli=draw(_AMOUNTS),
        cpu=draw(_AMOUNTS),
        host=draw(_AMOUNTS),
        disk=draw(_AMOUNTS),
        instances=draw(st.sampled_from((1, 64))),
        extra=(("r", draw(_AMOUNTS)),),
    )
    backend = draw(st.sampled_from(("onnxruntime", "python")))
    return a_model(f"m-{index}", option, backend=backend, replicas=draw(st.sampled_from((1, 1, 3))))


@st.composite
def _types(draw: st.DrawFn, name: str) -> ShardType:
    return a_shard_type(
        name,
        price=draw(_PRICES),
        device_memory_bytes=draw(_AMOUNTS),
        device_milli=draw(_AMOUNTS),
        cpu_milli=draw(_AMOUNTS),
        memory_bytes=draw(_AMOUNTS),
        disk_bytes=draw(st.none() | _AMOUNTS),
        overhead_memory_bytes=draw(st.sampled_from((0, 0, 1, 2**59))),
        device_count=draw(st.integers(1, 2)),
        parallel_loads=draw(st.sampled_from((1, 2, 10**6))),
        provision=draw(st.sampled_from(("new", "new", "existing"))),
        max_count=draw(st.sampled_from((None, 1))),
        extra=(("r", draw(_AMOUNTS)),),
    )


@st.composite
def extremes(draw: st.DrawFn) -> Scenario:
    """Up to six models on up to three shard types and two nodes, any number in any place."""
    device = NodeDevice(device_class=GPU, memory_bytes=draw(_AMOUNTS), foreign_bytes=draw(_AMOUNTS))
    return a_scenario(
        *(draw(_models(index)) for index in range(draw(st.integers(0, 6)))),
        types=tuple(draw(_types(f"t-{index}")) for index in range(draw(st.integers(1, 3)))),
        nodes=tuple(
            a_node(f"n-{index}", cpu_milli=draw(_AMOUNTS), memory_bytes=draw(_AMOUNTS), devices=(device,) * 2)
            for index in range(draw(st.integers(0, 2)))
        ),
        backends=(
            Backend(name="onnxruntime", device_base_bytes=draw(_AMOUNTS), host_base_bytes=draw(_AMOUNTS)),
            Backend(name="python", context_per_instance=True),
        ),
        runtimes=(Runtime(name="triton", context_bytes=draw(st.sampled_from((0, 1, 2**58)))),),
        headroom=Headroom(
            device_memory_ppm=draw(_PPM),
            device_time_ppm=draw(_PPM),
            cpu_ppm=draw(_PPM),
            memory_ppm=draw(_PPM),
        ),
        max_usd_per_h_microusd=draw(st.none() | _PRICES),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(extremes())
def test_every_plan_is_verified_and_accounts_for_all(scenario: Scenario) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an overflow of numpy is a warning
        plan = make_plan(scenario, SolveOptions(work=6))
    assert verify(scenario, plan) == ()
    wanted = sum(model.replicas for model in scenario.models)
    assert len(plan.placement.placed) + sum(item.replicas for item in plan.refusals) == wanted
    assert plan.bound is not None
    assert 0 <= plan.bound.microusd_per_h <= plan.cost_microusd_per_h
