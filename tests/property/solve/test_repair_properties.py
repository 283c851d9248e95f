"""Repair on placements that break rules: legal afterwards, and the bound on the moves against brute force."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.difference import count_gone, count_moves
from planner.domain.fleet import Backend
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.problem import make_problem
from planner.solve.repair.leavers import COVER, covers_of, greedy_cover, heaviest_first, least_leavers
from planner.solve.repair.plans import repair
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option

_SLOW = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
_BACKENDS = (
    Backend(name="onnxruntime", device_base_bytes=2 * GIB, host_base_bytes=GIB),
    Backend(name="python"),
)
_DEVICES, _MOST_SHARDS = 2, 2


@st.composite
def overloads(draw: st.DrawFn) -> tuple[Scenario, Placement]:
    """Up to four replicas on up to two shards of two devices, placed without a look at the room there."""
    models = tuple(
        a_model(
            f"m-{index}",
            an_option(
                gpu=(gpu := draw(st.integers(0, 9)) * GIB),
                peak=gpu + draw(st.sampled_from((0, 2))) * GIB,
                milli=draw(st.sampled_from((0, 300, 600))),
                host=draw(st.sampled_from((0, 2, 5))) * GIB,
            ),
            backend=draw(st.sampled_from(("onnxruntime", "python"))),
            tenant=draw(st.sampled_from((None, "a"))),
        )
        for index in range(draw(st.integers(1, 4)))
    )
    shards = draw(st.integers(1, _MOST_SHARDS))
    most = draw(st.sampled_from((shards, shards, 1)))
    only = a_shard_type("t", device_count=_DEVICES, memory_bytes=12 * GIB, max_count=most)
    scenario = a_scenario(*models, types=(only,), backends=_BACKENDS, isolate_tenants=draw(st.booleans()))
    names = [f"t-{index + 1}" for index in range(shards)]
    placed = [
        Placed(
            model=m.name, replica=0, shard=draw(st.sampled_from(names)), devices=(draw(st.integers(0, 1)),)
        )
        for m in models
    ]
    return scenario, Placement(
        shards=tuple(Shard(name=name, shard_type="t") for name in names), placed=tuple(sorted(placed))
    )


def changes(scenario: Scenario, base: Placement, after: Placement) -> int:
    """How many replicas moved or are gone."""
    replicas = {model.name: model.replicas for model in scenario.models}
    return count_moves(base, after) + count_gone(base, after, replicas)


def least_changes(scenario: Scenario, base: Placement) -> int:
    """The fewest replicas that move or go, by trying every seat on every set of the shards."""
    seats = [(shard.name, device) for shard in base.shards for device in range(_DEVICES)]
    best = len(base.placed)
    for chosen in itertools.product([None, *seats], repeat=len(base.placed)):
        placed = tuple(
            Placed(model=was.model, replica=0, shard=seat[0], devices=(seat[1],))
            for was, seat in zip(base.placed, chosen, strict=True)
            if seat is not None
        )
        used = {item.shard for item in placed}
        after = Placement(shards=tuple(s for s in base.shards if s.name in used), placed=placed)
        moved = changes(scenario, base, after)
        if moved < best and not verify_placement(scenario, after):
            best = moved
    return best


@_SLOW
@given(overloads())
def test_a_repaired_placement_is_legal_and_the_bound_is_below_the_least_by_brute_force(
    drawn: tuple[Scenario, Placement],
) -> None:
    scenario, base = drawn
    found = repair(make_problem(scenario), base)
    used = {item.shard for item in found.placement.placed}
    kept = Placement(
        shards=tuple(shard for shard in base.shards if shard.name in used), placed=found.placement.placed
    )
    assert verify_placement(scenario, kept) == ()
    least = least_changes(scenario, base)
    assert found.at_least <= least <= changes(scenario, base, kept)
    assert found.homeless == len(base.placed) - len(kept.placed)


@st.composite
def excesses(draw: st.DrawFn) -> np.ndarray:
    count, dims = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    rows = st.lists(st.integers(0, COVER), min_size=dims, max_size=dims)
    shares = np.array(draw(st.lists(rows, min_size=count, max_size=count)), dtype=np.int64)
    for dim in range(dims):
        if shares[:, dim].sum() < COVER:
            shares[0, dim] = COVER
    return shares


@_SLOW
@given(excesses())
def test_the_least_number_of_leavers_and_their_covers_are_those_of_brute_force(shares: np.ndarray) -> None:
    items = range(len(shares))
    covers = [
        chosen
        for count in range(1, len(shares) + 1)
        for chosen in itertools.combinations(items, count)
        if (shares[list(chosen)].sum(axis=0) >= COVER).all()
    ]
    least = min(map(len, covers))
    assert least_leavers(shares, 10_000) == least
    assert least_leavers(shares, 3) <= least
    sizes = shares.sum(axis=1)
    best = np.zeros((2, 12), dtype=np.int64)
    found, _ = covers_of(shares, sizes, heaviest_first(shares), least, best, 10_000)
    totals = sorted(sizes[list(chosen)].sum() for chosen in covers if len(chosen) == least)[:2]
    assert [sizes[best[at, :least]].sum() for at in range(found)] == totals
    assert tuple(greedy_cover(shares)) in covers
