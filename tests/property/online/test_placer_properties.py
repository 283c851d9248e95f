"""Whatever comes and goes: what is placed is legal, and what is refused fits nowhere."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.domain.canonical import sha256_of
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario, names
from planner.domain.verify import verify_placement
from planner.online.arrays import ANYWHERE, NOTHING_BANNED, Where
from planner.online.placer import Placer
from planner.online.reasons import obstacles
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.small_scenarios import scenarios


@st.composite
def living(draw: st.DrawFn) -> tuple[Scenario, Placement, list[Model]]:
    """A scenario, a legal placement of it with some models taken out, and those models."""
    scenario = draw(scenarios())
    placement = make_plan(scenario, SolveOptions(work=5)).placement
    gone = {model.name for model in scenario.models if draw(st.booleans())}
    keys = {model.together for model in scenario.models if model.name in gone and model.together}
    gone |= {model.name for model in scenario.models if model.together in keys}
    kept = tuple(item for item in placement.placed if item.model not in gone)
    waiting = [model for model in scenario.models if model.name in gone]
    return scenario, dataclasses.replace(placement, placed=kept), draw(st.permutations(waiting))


@settings(max_examples=120)
@given(living())
def test_what_is_placed_is_legal_and_what_is_refused_fits_nowhere(
    found: tuple[Scenario, Placement, list[Model]],
) -> None:
    scenario, placement, waiting = found
    placer = Placer(scenario, placement)
    for model in waiting:
        outcome = placer.place(model)
        assert not verify_placement(scenario, placer.placement())
        assert set(placement.placed) <= set(placer.placement().placed)
        if model.together is None:
            refused = sum(item.replicas for item in outcome.refused)
            assert refused + len(outcome.placed) == model.replicas
        strict = any(item.rule is Rule.CONFIG_MAP for item in outcome.obstacles)  # every copy has an entry
        if outcome.refused and model.together is None and not strict:
            assert not list(_legal_places(scenario, placer.placement(), model, placer.missing(model.name)[0]))
            assert len(outcome.obstacles) > 0 or not placement.shards


@settings(max_examples=60)
@given(living(), st.data())
def test_what_goes_leaves_what_was(
    found: tuple[Scenario, Placement, list[Model]], data: st.DataObject
) -> None:
    scenario, placement, waiting = found
    placer = Placer(scenario, placement)
    before = _left(placer)
    for model in waiting:
        placer.place(model)
    for name in data.draw(st.permutations([model.name for model in waiting])):
        placer.remove(name)
    assert placer.placement() == placement
    assert _left(placer) == before


@settings(max_examples=30)
@given(living())
def test_what_comes_unannounced_is_placed_as_if_it_had_been_known(
    found: tuple[Scenario, Placement, list[Model]],
) -> None:
    scenario, placement, waiting = found
    gone = {model.name for model in waiting}
    smaller = dataclasses.replace(
        scenario, models=tuple(model for model in scenario.models if model.name not in gone)
    )
    placer = Placer(smaller, placement)
    alone = [model for model in waiting if model.together is None]
    for model in alone:
        placer.place(model)
    assert not verify_placement(placer.scenario, placer.placement())
    assert sha256_of(placer.scenario) == sha256_of(
        dataclasses.replace(smaller, models=tuple(sorted((*smaller.models, *alone), key=lambda m: m.name)))
    )


def _left(placer: Placer) -> list[object]:
    return [array.tolist() for array in placer.book.board]


def _legal_places(scenario: Scenario, placement: Placement, model: Model, replica: int) -> list[Placed]:
    """Return every place that one more replica could have, found by trying all of them."""
    types = names(scenario).shard_types
    found = []
    for shard in placement.shards:
        ordinals = range(types[shard.shard_type].device_count)
        for devices in itertools.combinations(ordinals, model.devices_per_replica):
            for option in range(len(model.footprints)):
                placed = Placed(
                    model=model.name, replica=replica, shard=shard.name, devices=devices, option=option
                )
                after = dataclasses.replace(placement, placed=tuple(sorted((*placement.placed, placed))))
                if not verify_placement(scenario, after):
                    found.append(placed)
    return found


@settings(max_examples=120)
@given(living())
def test_what_is_told_of_all_shards_is_what_each_of_them_says(
    found: tuple[Scenario, Placement, list[Model]],
) -> None:
    scenario, placement, waiting = found
    placer = Placer(scenario, placement)
    for model in waiting:
        told = placer.obstacles(model)
        ways = placer.book.asker.ways(model)
        if model.pin is not None or not ways:
            continue
        alone = []
        for row in range(len(placement.shards)):
            where = Where(banned=NOTHING_BANNED, row=row, device=ANYWHERE)
            alone += [item for item in [obstacles(placer.book, model, ways, where)] if item]
        if len(alone) < len(placement.shards):
            assert not told
            continue
        counted = Counter(item.rule for (item,) in alone)
        assert {item.rule: item.shards for item in told} == counted
        for item in told:
            assert item.nearest.ratio == min(one.nearest.ratio for (one,) in alone if one.rule is item.rule)
