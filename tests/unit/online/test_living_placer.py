"""A plan to which shards are added, and copies that are booked one by one."""

from __future__ import annotations

import pytest

from planner.domain.placement import Placed, Placement
from planner.domain.verify import verify_placement
from planner.online.arrays import DOMAIN
from planner.online.placer import Placer
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models
from tests.support.plans import a_placement, a_shard, on


def test_shards_that_are_opened_one_by_one_are_as_if_they_had_been_there() -> None:
    wide = a_shard_type(device_count=2)
    scenario = a_scenario(*models(6, an_option(gpu=5 * GIB)), types=(wide,), spread="node")
    shards = tuple(a_shard(name, "t") for name in ("t", "t-1", "t-2"))
    at_once = Placer(scenario, Placement(shards=shards))
    one_by_one = Placer(scenario, Placement(shards=shards[:1]))
    one_by_one.place(scenario.models[0])
    at_once.place_replica(scenario.models[0], 0, shard="t")
    for shard in shards[1:]:
        one_by_one.open(shard)
    for model in scenario.models[1:]:
        assert one_by_one.place(model).placed == at_once.place(model).placed
    for grown, whole in zip(one_by_one.book.board, at_once.book.board, strict=True):
        assert grown.tolist() == whole.tolist()
    assert one_by_one.placement() == at_once.placement()


def test_a_shard_that_is_closed_is_as_if_it_had_never_been_there() -> None:
    wide, narrow = a_shard_type(device_count=2), a_shard_type("s")
    scenario = a_scenario(*models(7, an_option(gpu=5 * GIB)), types=(wide, narrow), spread="node")
    shards = (a_shard("t"), a_shard("s"), a_shard("t-1", "t"), a_shard("s-1", "s"))
    kept = (shards[0], shards[2])
    cut, whole = Placer(scenario, Placement(shards=shards)), Placer(scenario, Placement(shards=kept))
    for placer in (cut, whole):
        placer.place_replica(scenario.models[0], 0, shard="t-1")
        placer.place_replica(scenario.models[1], 0, shard="t")
    cut.close("s")
    cut.close("s-1")
    assert cut.placement() == whole.placement()
    for placer in (cut, whole):
        placer.unseat(scenario.models[0].name, 0)
    for model in scenario.models[2:]:
        assert cut.place(model).placed == whole.place(model).placed
    for placer in (cut, whole):
        placer.book.board.rows[:, DOMAIN] = 0  # they are numbered as they come
    for one, other in zip(cut.book.board, whole.book.board, strict=True):
        assert one.tolist() == other.tolist()
    cut.open(a_shard("s-2", "s"))
    assert cut.place_replica(scenario.models[0], 0, shard="s-2") is not None


def test_a_shard_with_somebody_on_it_is_not_closed() -> None:
    scenario = a_scenario(*models(1))
    placer = Placer(scenario, a_placement(a_shard("t"), on("m-000")))
    with pytest.raises(ValueError, match="'t' has 1 residents"):
        placer.close("t")
    placer.unseat("m-000", 0)
    placer.close("t")
    assert placer.place(scenario.models[0]).refused
    with pytest.raises(KeyError):
        placer.close("t")


def test_a_shard_that_is_opened_takes_what_was_refused() -> None:
    scenario = a_scenario(*models(2, an_option(gpu=10 * GIB)))
    placer = Placer(scenario, a_placement(a_shard("t"), on("m-000")))
    assert placer.place(scenario.models[1]).refused
    placer.open(a_shard("t-1", "t"))
    assert placer.place(scenario.models[1]).placed == (on("m-001", "t-1"),)
    assert verify_placement(placer.scenario, placer.placement()) == ()


def test_a_plan_without_shards_and_models_is_one_to_begin_with() -> None:
    placer = Placer(a_scenario(), Placement())
    with pytest.raises(ValueError, match="no backend 'onnxruntime'"):
        placer.place_replica(a_model(), 0)
    scenario = a_scenario(a_model("other"))
    placer = Placer(scenario, Placement())
    assert placer.place_replica(a_model(), 0) is None
    placer.open(a_shard("t"))
    assert placer.place_replica(a_model(), 0) == on("m")


def test_one_replica_on_one_shard_or_nowhere() -> None:
    scenario = a_scenario(a_model("m", an_option(gpu=6 * GIB), replicas=2))
    placer = Placer(scenario, a_placement(a_shard("t"), a_shard("t-1", "t")))
    (model,) = scenario.models
    assert placer.place_replica(model, 1, shard="t-1") == on("m", "t-1", replica=1)
    assert placer.place_replica(model, 0, shard="t-1") is None
    assert placer.unseat("m", 1) == on("m", "t-1", replica=1)
    assert placer.missing("m") == (0, 1)
    with pytest.raises(KeyError):
        placer.place_replica(model, 0, shard="t-7")


def test_what_is_seated_is_there_whether_it_fits_or_not() -> None:
    scenario = a_scenario(a_model("big", an_option(gpu=99 * GIB)), a_model("small"))
    placer = Placer(scenario, a_placement(a_shard("t")))
    placer.seat(scenario.models[0], Placed(model="big", replica=0, shard="t", devices=(0,)))
    assert placer.place(scenario.models[1]).refused
    placer.remove("big")
    assert placer.place(scenario.models[1]).placed


def test_what_is_expected_decides_where_a_model_goes() -> None:
    nodes = (a_node("n", gpus=4),)
    scenario = a_scenario(
        a_model("m", an_option(gpu=4 * GIB)),
        types=(a_shard_type(device_count=2, provision="existing"),),
        nodes=nodes,
    )
    placer = Placer(scenario, a_placement(a_shard("t", node="n", node_devices=(0, 1))))
    placer.expect(models(3, an_option(gpu=8 * GIB), devices_per_replica=2))
    assert placer.place(scenario.models[0]).placed
    assert verify_placement(placer.scenario, placer.placement()) == ()
