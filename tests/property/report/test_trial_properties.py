"""Trials and accounts against the specification, on random small plans."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.domain.fleet import Backend
from planner.domain.placement import Placed, Placement
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.report.trial import make_setting, try_shard
from planner.report.usage import placement_usage
from tests.support.builders import GIB, MIB, a_model, a_scenario, a_shard_type, an_option
from tests.support.plans import a_placement, a_shard, on

_SHARDS = ("t", "t-1", "t-2")


@st.composite
def placements(draw: st.DrawFn) -> tuple[Scenario, Placement]:
    """Up to eight models of one or two replicas on up to three shards, legal or not."""
    models = []
    placed = []
    for index in range(draw(st.integers(1, 8))):
        steady = draw(st.integers(0, 9)) * GIB
        option = an_option(
            gpu=steady,
            peak=steady + draw(st.integers(0, 2)) * GIB,
            milli=draw(st.integers(0, 600)),
            cpu=draw(st.integers(0, 2_000)),
            host=draw(st.integers(0, 3)) * GIB,
        )
        replicas = draw(st.integers(1, 2))
        model = a_model(
            f"m-{index}",
            option,
            replicas=replicas,
            backend=draw(st.sampled_from(("onnxruntime", "python"))),
            tenant=draw(st.sampled_from((None, "a", "b"))),
        )
        models.append(model)
        homes = draw(st.lists(st.sampled_from(_SHARDS), min_size=replicas, max_size=replicas, unique=True))
        placed += [on(model.name, shard, replica=replica) for replica, shard in enumerate(homes)]
    scenario = a_scenario(
        *models,
        types=(a_shard_type(cpu_milli=4_000, memory_bytes=8 * GIB, max_models=4),),
        backends=(Backend(name="onnxruntime", device_base_bytes=300 * MIB, host_base_bytes=100 * MIB),),
        isolate_tenants=draw(st.booleans()),
    )
    return scenario, a_placement(*(a_shard(name, "t") for name in _SHARDS), *placed)


@given(placements(), st.sampled_from(_SHARDS))
@settings(max_examples=150, deadline=None)
def test_a_trial_says_what_the_specification_says_of_the_whole_plan(
    case: tuple[Scenario, Placement], shard: str
) -> None:
    """What a trial finds with a few shards is what verifying everything before and after finds."""
    scenario, placement = case
    moved = placement.placed[0]
    if moved.shard == shard:
        return
    trial = try_shard(make_setting(scenario, placement), moved.model, replica=moved.replica, shard=shard)
    without = replace(placement, placed=placement.placed[1:])
    there = Placed(model=moved.model, replica=moved.replica, shard=shard, devices=(0,))
    after = replace(placement, placed=tuple(sorted((*without.placed, there))))
    new = set(verify_placement(scenario, after)) - set(verify_placement(scenario, without))
    assert set(trial.obstacles) == new


@given(placements())
@settings(max_examples=150, deadline=None)
def test_the_account_is_over_exactly_where_the_specification_says_so(
    case: tuple[Scenario, Placement],
) -> None:
    scenario, placement = case
    counted = (Rule.DEVICE_MEMORY, Rule.DEVICE_TIME, Rule.CPU, Rule.HOST_MEMORY, Rule.MAX_MODELS)
    said = {
        (item.rule, item.subject, item.need, item.have)
        for item in verify_placement(scenario, placement)
        if item.rule in counted
    }
    found = {
        (use.rule, use.subject, use.used, use.capacity)
        for shard in placement_usage(scenario, placement)
        for use in shard.resources
        if use.rule in counted and use.left < 0
    }
    assert found == said


@given(placements())
@settings(max_examples=50, deadline=None)
def test_a_devices_account_adds_up(case: tuple[Scenario, Placement]) -> None:
    scenario, placement = case
    for shard in placement_usage(scenario, placement):
        for device in shard.devices:
            total = device.used_bytes + device.left_bytes + device.headroom_bytes
            assert total == device.room.total_bytes
