"""A controller with gateways and transformers, stopped before any write while models come, change and go."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.controller.writes import Write
from planner.domain.verify import verify_placement
from planner.manifests.names import LABEL_SHARD
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

NGINX = ManifestOptions(gateway="nginx")
PACE = Pace(empty_s=5.0)
NAMES = tuple(f"m-{index}" for index in range(6))
TRANSFORMERS = """\
  transformers:
    - {name: scale, image: x, replicas: 2, resources: {cpu: 1, memory: 1Gi}}
    - {name: words, image: y, resources: {cpu: 2, memory: 1Gi}}
"""
CHANGES = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(("100Mi", "6Gi", "11Gi", "gone")),
    st.sampled_from((None, "scale", "words")),
)
ROUNDS = st.lists(
    st.tuples(st.lists(CHANGES, min_size=1, max_size=5), st.lists(st.integers(0, 14), max_size=3)),
    min_size=1,
    max_size=3,
)


class StoppedError(Exception):
    """The controller is not there any more."""


@pytest.mark.parametrize("mode", ["kserve", "standalone"])
@settings(max_examples=30, deadline=None)
@given(rounds=ROUNDS)
def test_what_is_needed_stands_once_and_nothing_else_does(
    mode: Mode, rounds: list[tuple[list[tuple[str, str, str | None]], list[int]]]
) -> None:
    style = Style(mode=mode, options=NGINX)
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=3, most=4, extra=TRANSFORMERS)))
    now = 0.0
    for changes, stops in rounds:
        for change in changes:
            _apply(cluster, *change)
        for after in stops:
            now = _interrupted(cluster, style, after, now)
        run = Run(cluster, style=style, pace=PACE, now=now)
        run.settle(agents=loaded_agents())
        now = run.now
        _is_consistent(cluster, style, run)


def _interrupted(cluster: MemoryCluster, style: Style, after: int, now: float) -> float:
    left = iter(range(after))

    def stop(write: Write) -> None:
        if next(left, None) is None:
            raise StoppedError(write.name)

    run = Run(cluster, style=style, pace=PACE, broken=stop, now=now)
    with contextlib.suppress(StoppedError):
        run.settle(agents=loaded_agents())
    return run.now


def _apply(cluster: MemoryCluster, name: str, memory: str, transformer: str | None) -> None:
    known = cluster.of("TrainedModel").get(name)
    if memory == "gone":
        if known is not None:
            cluster.remove("TrainedModel", name)
        return
    fresh = a_trained_model(name, memory=memory, says={"transformer": transformer})
    if known is not None:
        said = fresh["metadata"]["annotations"]
        fresh = json.loads(json.dumps({**known, "spec": {**known["spec"], "model": fresh["spec"]["model"]}}))
        fresh["metadata"]["annotations"].update(said)
    cluster.put("TrainedModel", fresh)


def _is_consistent(cluster: MemoryCluster, style: Style, run: Run) -> None:
    (plan,) = run.engine.plans
    scenario, placement = plan.placement()
    assert verify_placement(scenario, placement, plan.standing.services) == ()
    servers = [*cluster.of("InferenceService").values(), *cluster.of("Deployment").values()]
    labels = [item["metadata"]["labels"] for item in servers]
    assert {item[LABEL_SHARD] for item in labels if LABEL_SHARD in item} == set(plan.shards)
    placed = placement_of(cluster)
    used = {shard for shards in placed.values() for shard in shards}
    if style.mode == "kserve":
        assert set(plan.shards) == {"news", *used}
    else:
        assert used <= set(plan.shards)
        assert len(plan.shards) == max(1, len(used))
    standing = {service.name for service in plan.standing.services}
    for kind in ("Deployment", "Service"):
        assert {name for name in cluster.of(kind) if "-transformer-" in name} == standing
    assert {name for name in cluster.of("Service") if name.endswith("-shard")} == {
        f"{shard}-shard" for shard in plan.shards
    }
    routes = json.loads(cluster.of("ConfigMap")["news-gateway-0"]["data"]["routes-0.json"])
    assert {name: set(shards) for name, shards in routes["models"].items()} == placed
    through = {copy.model.name: copy.model.transformer for name in placed for copy in plan.copies(name)}
    assert routes.get("through", {}) == {
        name: f"news-transformer-{item}" for name, item in through.items() if item is not None
    }
    before = dict(cluster.writes)
    Run(cluster, style=style, pace=PACE, now=run.now).settle(agents=loaded_agents())
    assert cluster.writes == before
