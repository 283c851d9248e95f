"""A controller that is stopped before any write, again and again, while models come, change and go."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.controller.writes import Write
from planner.domain.verify import verify_placement
from tests.support.memory_cluster import (
    KServe,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)


class StoppedError(Exception):
    """The controller is not there any more."""


class Stopper:
    """Stops a controller before one of its writes."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, write: Write) -> None:
        self._left -= 1
        if self._left < 0:
            raise StoppedError


SIZES = ("200Mi", "900Mi", "3Gi", "6Gi", "11Gi")
NAMES = tuple(f"m-{index:02}" for index in range(12))
CHANGES = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(SIZES), st.integers(1, 2)),
    st.tuples(st.just("move files"), st.sampled_from(NAMES), st.just("s3://other/place"), st.just(1)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just(""), st.just(1)),
    st.tuples(st.just("lose server"), st.sampled_from(("news", "news-1")), st.just(""), st.just(1)),
    st.tuples(st.just("lose document"), st.sampled_from(("news", "news-1")), st.just(""), st.just(1)),
)


@pytest.mark.parametrize("mode", ["kserve", "standalone"])
@settings(max_examples=40, deadline=None)
@given(
    empty_s=st.sampled_from((None, 5.0)),
    rounds=st.lists(
        st.tuples(st.lists(CHANGES, min_size=1, max_size=6), st.lists(st.integers(0, 12), max_size=4)),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_happens_the_end_is_one_plan_that_holds_every_model_that_fits(
    mode: Mode, empty_s: float | None, rounds: list[tuple[list[tuple[str, str, str, int]], list[int]]]
) -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=5, most=6)))
    kserve = KServe(cluster)
    pace = Pace(empty_s=empty_s)
    Run(cluster, style=Style(mode=mode), pace=pace).settle(agents=loaded_agents())
    now = 100.0
    for changes, stops in rounds:
        for change in changes:
            _apply(cluster, mode, change)
        for after in stops:
            now = _interrupted(cluster, mode, pace, after, now)
            if mode == "kserve" and _all_parents_there(cluster):
                kserve.reconcile()
        run = _settled(cluster, mode, pace, kserve, now)
        now = run.now
        _is_consistent(cluster, run, kserve, mode)


def _interrupted(cluster: MemoryCluster, mode: Mode, pace: Pace, after: int, now: float) -> float:
    run = Run(cluster, style=Style(mode=mode), pace=pace, broken=Stopper(after), now=now)
    with contextlib.suppress(StoppedError):
        run.settle(agents=loaded_agents())
    return run.now


def _settled(cluster: MemoryCluster, mode: Mode, pace: Pace, kserve: KServe, now: float) -> Run:
    run = Run(cluster, style=Style(mode=mode), pace=pace, now=now)
    run.settle(agents=loaded_agents())
    if mode == "kserve":
        kserve.reconcile()
        run.settle(agents=loaded_agents())
    return run


def _is_consistent(cluster: MemoryCluster, run: Run, kserve: KServe, mode: Mode) -> None:
    (plan,) = run.engine.plans
    scenario, placement = plan.placement()
    assert verify_placement(scenario, placement) == ()
    assert kserve.deleted == []
    documents = placement_of(cluster)
    assert documents == {name: {copy.placed.shard for copy in plan.copies(name)} for name in plan.models()}
    for name, item in cluster.of("TrainedModel").items():
        (told,) = (one for one in item["status"]["conditions"] if one["type"] == "Assigned")
        wanted = json.loads(item["metadata"]["annotations"]["shardpack.dev/model"])["replicas"]
        everywhere = len(documents.get(name, ())) == wanted
        assert told["reason"] == "NoRoom" or (told["status"] == "True" and everywhere)
        assert not any(copy.leaving for copy in plan.copies(name))
        if name in documents:
            assert item["spec"]["inferenceService"] in documents[name]
    if mode == "kserve":
        for shard in plan.shards:
            assert kserve.models(shard) & set(documents) == {
                name
                for name in documents
                if cluster.of("TrainedModel")[name]["spec"]["inferenceService"] == shard
            }
    before = dict(cluster.writes)
    Run(cluster, style=Style(mode=mode), now=run.now).settle(agents=loaded_agents())
    assert cluster.writes == before


def _apply(cluster: MemoryCluster, mode: Mode, change: tuple[str, str, str, int]) -> None:
    what, name, value, replicas = change
    models = cluster.of("TrainedModel")
    if what == "put":
        fresh = a_trained_model(name, memory=value, says={"replicas": replicas})
        known = models.get(name)
        if known is not None:
            fresh = _like(known, fresh)
        cluster.put("TrainedModel", fresh)
    elif what == "move files" and name in models:
        fresh = json.loads(json.dumps(models[name]))
        fresh["spec"]["model"]["storageUri"] = value
        cluster.put("TrainedModel", fresh)
    elif what == "delete" and name in models:
        cluster.remove("TrainedModel", name)
    elif what == "lose server":
        kind, suffix = ("InferenceService", "") if mode == "kserve" else ("Deployment", "-predictor")
        if f"{name}{suffix}" in cluster.of(kind):
            cluster.remove(kind, f"{name}{suffix}")
    elif what == "lose document" and f"shardpack-{name}-0" in cluster.of("ConfigMap"):
        cluster.remove("ConfigMap", f"shardpack-{name}-0")


def _like(known: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """What a user's change leaves of an object."""
    result: dict[str, Any] = json.loads(json.dumps(known))
    result["spec"]["model"] = fresh["spec"]["model"]
    result["metadata"]["annotations"].update(fresh["metadata"]["annotations"])
    return result


def _all_parents_there(cluster: MemoryCluster) -> bool:
    servers = cluster.of("InferenceService")
    return all(item["spec"]["inferenceService"] in servers for item in cluster.of("TrainedModel").values())
