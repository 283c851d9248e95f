"""How much still fits: figures that can be counted by hand."""

from __future__ import annotations

from planner.online.placer import Placer
from planner.online.room import free_room
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.plans import a_placement, a_shard, on


def test_what_is_free_in_pieces_holds_less_than_in_one() -> None:
    there = models(3, an_option(gpu=10 * GIB), prefix="there")
    scenario = a_scenario(*there, a_model("large", an_option(gpu=12 * GIB)))
    placement = a_placement(
        *(a_shard(f"t-{index}", "t") for index in (1, 2, 3)),
        *(on(model.name, f"t-{index}") for index, model in enumerate(there, start=1)),
    )
    room = free_room(scenario, placement)
    assert (room.free_bytes, room.largest_bytes, room.largest_at) == (18 * GIB, 6 * GIB, "t-1/0")
    assert (room.largest_model, room.median_model) == (None, "there-001")
    assert (room.median_fits, room.median_in_one_piece, room.lost_ppm) == (0, 1, 1_000_000)


def test_whole_devices_and_the_largest_model_that_fits() -> None:
    scenario = a_scenario(
        a_model("a", an_option(gpu=3 * GIB)),
        a_model("b", an_option(gpu=16 * GIB)),
        a_model("c", an_option(gpu=17 * GIB)),
        types=(a_shard_type(device_count=4),),
    )
    room = free_room(scenario, a_placement(a_shard(), on("a", "t", 2)))
    assert (room.whole_devices, room.whole_at) == (3, "t")
    assert room.largest_model == "b"


def test_as_many_medians_fit_as_are_placed_before_one_is_refused() -> None:
    small = an_option(gpu=3 * GIB, peak=5 * GIB, milli=150, cpu=900, host=GIB)
    scenario = a_scenario(
        *models(3, small), types=(a_shard_type(device_count=2, parallel_loads=2, cpu_milli=9_000),)
    )
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("m-000"), on("m-001", "t", 1))
    placer = Placer(scenario, placement)
    count = 0
    while placer.place(a_model(f"new-{count}", small)).placed:
        count += 1
    assert count == free_room(scenario, placement).median_fits > 0


def test_nothing_is_open_and_nothing_is_asked() -> None:
    room = free_room(a_scenario(), a_placement())
    assert (room.free_bytes, room.largest_bytes, room.median_model, room.lost_ppm) == (0, None, None, 0)
