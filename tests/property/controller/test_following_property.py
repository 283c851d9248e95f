"""Whatever comes and goes: a plan that follows documents is the controller's, and judges as ``fit`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.controller.fitting import fit
from planner.controller.following import Follower
from planner.controller.world import KINDS
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)

SIZES = ("200Mi", "2Gi", "6Gi", "9Gi")
NAMES = [f"m-{number}" for number in range(8)]

deeds = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from((*SIZES, "gone")), st.integers(1, 2)), max_size=12
)


def do(cluster: MemoryCluster, name: str, memory: str, replicas: int) -> None:
    """Create a model, make it ask for something else, or delete it."""
    known = cluster.of("TrainedModel").get(name)
    if memory == "gone":
        if known is not None:
            cluster.remove("TrainedModel", name)
        return
    wanted = a_trained_model(name, memory=memory, says={"replicas": replicas})
    if known is not None:
        wanted["spec"]["inferenceService"] = known["spec"]["inferenceService"]
        annotations = {**known["metadata"]["annotations"], **wanted["metadata"]["annotations"]}
        wanted["metadata"] = {**json.loads(json.dumps(known["metadata"])), "annotations": annotations}
    cluster.put("TrainedModel", wanted)


class Following:
    """A follower that is shown everything, sooner or later."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster, self.follower, self._position = cluster, Follower(NAMESPACE), 0

    def catch_up(self, most: int) -> None:
        changes, self._position = self.cluster.changes_since(self._position)
        for kind, name, item, uid in changes:
            if item is None:
                self.follower.lose(kind, name, uid)
            else:
                self.follower.see(kind, item)
        while self.follower.catch_up(most):
            pass

    def places(self) -> list[tuple[str, int, str, tuple[int, ...]]]:
        (plan,) = self.follower.plans
        placed = plan.placement()[1].placed
        return sorted((one.model, one.replica, one.shard, one.devices) for one in placed)


@settings(max_examples=25, deadline=None)
@given(
    rounds=st.lists(deeds, min_size=1, max_size=3),
    most=st.integers(1, 5),
    looks=st.booleans(),
    asked=st.tuples(st.sampled_from([*NAMES, "new"]), st.sampled_from(SIZES), st.integers(1, 2)),
)
def test_it_is_where_the_controller_is(
    rounds: Sequence[Sequence[tuple[str, str, int]]], most: int, looks: bool, asked: tuple[str, str, int]
) -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(most=4)))
    run, following = Run(cluster), Following(cluster)
    for deed in rounds:
        for name, memory, replicas in deed:
            do(cluster, name, memory, replicas)
            if looks:  # while the controller has not written yet
                following.catch_up(most)
                following.follower.judge(a_trained_model("other"))
        run.settle(agents=loaded_agents())
        following.catch_up(most)
    (plan,) = run.engine.plans
    said = plan.placement()[1].placed
    refused = {name for name in cluster.of("TrainedModel") if run.engine.refusal(name) is not None}
    certain = [one for one in following.places() if one[0] not in refused]
    assert certain == sorted(
        (one.model, one.replica, one.shard, one.devices) for one in said if one.model not in refused
    )
    name, memory, replicas = asked
    if refused:  # what waits is tried again by who starts anew, in an order of its own
        return
    item = a_trained_model(name, memory=memory, says={"replicas": replicas})
    objects = {kind: cluster.of(kind).values() for kind in KINDS}
    verdict = following.follower.judge(item)
    assert verdict is not None
    wanted = fit(objects, item, namespace=NAMESPACE)
    assert (verdict.fits, len(verdict.places)) == (wanted.fits, len(wanted.places))
    assert following.places() == sorted((one.model, one.replica, one.shard, one.devices) for one in said)
