"""What the controller would do with a model, asked before it comes."""

from __future__ import annotations

from typing import Any

from planner.controller.fitting import Verdict, fit
from tests.support.builders import GIB
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)


def a_cluster(**more: Any) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(**more)))
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name, memory="6Gi"))
    Run(cluster).settle(agents=loaded_agents())
    return cluster


def asked(cluster: MemoryCluster, name: str = "new", **more: Any) -> Verdict:
    objects = {kind: tuple(items.values()) for kind, items in cluster.objects.items()}
    before = cluster.writes.total()
    verdict = fit(objects, a_trained_model(name, **more), namespace=NAMESPACE)
    assert cluster.writes.total() == before
    return verdict


def test_where_it_would_go_and_what_would_be_left() -> None:
    verdict = asked(a_cluster(), memory="1Gi")
    (place,) = verdict.places
    assert verdict.fits
    assert (place.shard, place.devices, place.is_new, place.needs_bytes) == ("news", (0,), False, GIB)
    assert place.left_bytes is not None
    assert 0 < place.left_bytes < 3 * GIB


def test_a_shard_that_would_be_opened() -> None:
    (place,) = asked(a_cluster(), memory="6Gi").places
    assert (place.shard, place.is_new, place.shard_type) == ("news-1", True, "t4")


def test_what_stands_against_it() -> None:
    verdict = asked(a_cluster(most=1), memory="6Gi")
    assert not verdict.fits
    assert verdict.places == ()
    assert "needs 6Gi" in verdict.refusal
    assert "needs 2 shards, has 1 shard" in verdict.refusal


def test_one_that_is_there_is_judged_as_a_change() -> None:
    (place,) = asked(a_cluster(), "b", memory="9Gi").places
    assert (place.shard, place.is_new) == ("news-1", True)
    verdict = asked(a_cluster(most=1), "b", memory="9Gi")
    assert not verdict.fits
    assert [place.shard for place in verdict.places] == ["news"]


def test_one_of_no_group_is_nobodys() -> None:
    assert asked(a_cluster(), parent="other") == Verdict(model="new", is_ours=False)
