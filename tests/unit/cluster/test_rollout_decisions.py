"""What an object that was applied says of itself; without a server."""

from __future__ import annotations

from typing import Any

import pytest

from planner.cluster.rollout import covers, is_ready, reason_of, without_bookkeeping


@pytest.mark.parametrize(
    ("live", "wanted", "covered"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": None}, {"a": {}}, False),
    ],
)
def test_whether_what_is_wanted_is_there(live: Any, wanted: Any, covered: bool) -> None:
    assert covers(live, wanted) is covered


def shard(*conditions: tuple[str, str], generation: int = 1, observed: int | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": [{"type": word, "status": value} for word, value in conditions]}
    if observed is not None:
        status["observedGeneration"] = observed
    return {"kind": "InferenceService", "metadata": {"name": "s", "generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("item", "ready"),
    [
        (shard(("Ready", "True")), True),
        (shard(("Ready", "False")), False),
        (shard(("PredictorReady", "True")), False),
        (shard(), False),
        (shard(("Ready", "True"), generation=2, observed=1), False),
        (shard(("Ready", "True"), generation=2, observed=2), True),
        ({"kind": "InferenceService", "metadata": {"name": "s"}}, False),
        ({"kind": "ConfigMap", "metadata": {"name": "c"}}, True),
        ({"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 0}}, True),
        ({"kind": "Deployment", "metadata": {"name": "d"}, "spec": {}}, False),
    ],
)
def test_whether_an_object_is_ready(item: dict[str, Any], ready: bool) -> None:
    assert is_ready(item) is ready


def test_a_deployment_is_ready_with_all_its_new_pods() -> None:
    item = {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 2}}
    assert not is_ready({**item, "status": {"availableReplicas": 2, "updatedReplicas": 1}})
    assert is_ready({**item, "status": {"availableReplicas": 2, "updatedReplicas": 2}})


def test_the_reason_is_that_of_the_first_condition_that_has_one() -> None:
    conditions = [
        {"type": "IngressReady", "status": "True", "reason": "Fine"},
        {"type": "PredictorReady", "status": "False", "reason": "NoPods", "message": "0 of 1 pods"},
    ]
    assert reason_of({"status": {"conditions": conditions}}) == "PredictorReady: 0 of 1 pods"
    assert reason_of({}) == ""


def test_what_the_server_notes_down_is_not_what_an_object_is() -> None:
    metadata = {"name": "a", "uid": "u", "resourceVersion": "7", "generation": 2, "labels": {"l": "1"}}
    item = {"kind": "X", "metadata": metadata, "spec": {"a": 1}, "status": {"b": 2}}
    assert without_bookkeeping(item) == {
        "kind": "X",
        "metadata": {"name": "a", "labels": {"l": "1"}},
        "spec": {"a": 1},
    }
