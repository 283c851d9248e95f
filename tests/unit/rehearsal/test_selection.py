"""Which shards are rehearsed."""

from __future__ import annotations

import pytest

from planner.errors import InputError
from planner.rehearsal.selection import Selection, most_shards, restricted, select_shards
from tests.support.builders import CPU, a_model, a_scenario, a_shard_type, an_option
from tests.support.plans import a_placement, a_shard, on

GIB = 2**30
SCENARIO = a_scenario(
    *(a_model(name, an_option("*")) for name in "abcdef"),
    types=(a_shard_type("t"), a_shard_type("u"), a_shard_type("ml", device_class=CPU, runtime="mlserver")),
)
PLACEMENT = a_placement(
    *(a_shard(name, "t") for name in ("t-0", "t-1")),
    *(a_shard(name, "u") for name in ("u-0", "u-1")),
    a_shard("ml", "ml"),
    on("a", "t-1"),
    on("b", "t-1"),
    on("c", "t-0"),
    on("d", "u-0"),
    on("e", "ml"),
)


def chosen(**more: object) -> Selection:
    return select_shards([(SCENARIO, PLACEMENT)], **{"most": 9, **more})  # type: ignore[arg-type]


def test_all_shards_of_triton_are_rehearsed_and_the_others_named() -> None:
    assert chosen() == Selection(shards=("t-0", "t-1", "u-0", "u-1"), skipped=(("ml", "mlserver"),))


def test_a_sample_takes_the_fullest_of_every_type_in_turn() -> None:
    assert chosen(sample=2).shards == ("t-1", "u-0")
    assert chosen(sample=3) == Selection(
        shards=("t-0", "t-1", "u-0"), skipped=(("ml", "mlserver"),), left_out=1
    )


def test_a_sample_of_a_change_takes_what_changes_first() -> None:
    later = a_placement(*PLACEMENT.shards, *PLACEMENT.placed, on("f", "u-1"))
    found = select_shards([(SCENARIO, PLACEMENT), (SCENARIO, later)], sample=1, most=9)
    assert found.shards == ("u-1",)


def test_shards_that_are_gone_are_rehearsed_too() -> None:
    later = restricted(PLACEMENT, {"t-0"})
    found = select_shards([(SCENARIO, PLACEMENT), (SCENARIO, later)], most=9)
    assert found.shards == ("t-0", "t-1", "u-0", "u-1")


def test_a_name_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"--only: the plan has no shard 't-2'; did you mean 't-1'\?"):
        chosen(only=("t-2", "u-0"))


def test_more_than_the_machine_holds_is_refused_with_a_way_out() -> None:
    with pytest.raises(InputError, match=r"4 shards, and this machine has memory for 3.*--sample 3"):
        chosen(most=3)
    assert chosen(most=3, only=("t-0",)).shards == ("t-0",)


def test_no_shard_of_triton_is_an_error() -> None:
    with pytest.raises(InputError, match="no shard of triton"):
        chosen(only=("ml",))


def test_memory_bounds_the_shards() -> None:
    assert most_shards(0) == 1
    assert most_shards(GIB) == 8
    assert most_shards(1000 * GIB) == 64


def test_a_restricted_placement_has_the_replicas_of_its_shards_alone() -> None:
    found = restricted(PLACEMENT, {"t-1"})
    assert [shard.name for shard in found.shards] == ["t-1"]
    assert [item.model for item in found.placed] == ["a", "b"]
