"""The controller as it runs: HTTP, watches, an election, others who write too."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from planner.cluster import Resource
from planner.cluster.resources import DEPLOYMENTS, EVENTS, INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Mode, Style
from planner.errors import ClusterError, ConflictError
from tests.support.api_server.troubles import Trouble
from tests.support.controllers import all_loaded, documents, eventually, models, running, versions
from tests.support.memory_cluster import a_trained_model
from tests.support.standing_in import Agents, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = pytest.mark.timeout(180)

MODES: tuple[Mode, ...] = ("kserve", "standalone")


@contextmanager
def others(here: Here, **more: Any) -> Iterator[KServeStandIn]:
    """Agents, and KServe's controller."""
    with Agents(here.kube, here.namespace, **more), KServeStandIn(here.kube, here.namespace) as kserve:
        yield kserve


def apply(here: Here, count: int, **more: Any) -> None:
    for index in range(count):
        item = a_trained_model(f"m-{index:03}", namespace=here.namespace, **more)
        here.kube.create(TRAINED_MODELS, item)


def served(here: Here, count: int) -> bool:
    return all_loaded(here.kube, here.namespace, count)


def servers(here: Here, resource: Resource = INFERENCE_SERVICES) -> list[str]:
    return [item["metadata"]["name"] for item in here.kube.list(resource, namespace=here.namespace).items]


@pytest.mark.parametrize("mode", MODES)
def test_fifty_models_from_nothing(here: Here, mode: Mode) -> None:
    with ExitStack() as stack:
        stack.enter_context(Agents(here.kube, here.namespace))
        kserve = KServeStandIn(here.kube, here.namespace)
        if mode == "kserve":
            stack.enter_context(kserve)
        (controller,) = stack.enter_context(running(here.kube, here.namespace, style=Style(mode=mode)))
        resource = INFERENCE_SERVICES if mode == "kserve" else DEPLOYMENTS
        eventually(lambda: servers(here, resource))
        apply(here, 50)
        eventually(lambda: served(here, 50))
        port = controller.endpoints.port
        for path in ("livez", "readyz"):
            assert urllib3.request("GET", f"http://127.0.0.1:{port}/{path}").status == 200
        text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
        assert "shardpack_controller_models 50.0" in text
        assert kserve.deleted == []
        eventually(lambda: len(here.kube.list(EVENTS, namespace=here.namespace).items) >= 53)
    shards = servers(here, resource)
    assert len(shards) == 3
    for name, item in models(here.kube, here.namespace).items():
        assert here.own is None or here.own.troubles.writes_of("trainedmodels/status", name=name) <= 2
        assert "shardpack.dev/url" not in item["metadata"].get("annotations", {})  # no gateway answers
        if mode == "standalone":
            shard = item["spec"]["inferenceService"]
            url = f"http://{shard}-predictor.{here.namespace}.svc/v2/models/{name}/infer"
            assert item["status"]["url"] == item["status"]["address"]["url"] == url


def test_a_restart_writes_nothing(here: Here) -> None:
    with others(here):
        with running(here.kube, here.namespace):
            eventually(lambda: servers(here))
            apply(here, 30)
            eventually(lambda: served(here, 30))
        before = versions(here.kube, here.namespace)
        with running(here.kube, here.namespace) as (controller,):
            eventually(lambda: controller.metrics.models._value.get() == 30)
            time.sleep(1.0)
        assert versions(here.kube, here.namespace) == before


def test_three_controllers_and_the_leader_goes_in_the_middle(here: Here) -> None:
    with (
        Agents(here.kube, here.namespace),
        KServeStandIn(here.kube, here.namespace) as kserve,
        running(here.kube, here.namespace, count=3) as three,
    ):
        eventually(lambda: servers(here))
        for index in range(60):
            here.kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:03}", namespace=here.namespace))
            if index in (20, 40):
                leader = next(item for item in three if item.metrics.leading._value.get())
                leader.stop()
                three.remove(leader)
                eventually(lambda: any(item.metrics.leading._value.get() for item in three))
        eventually(lambda: served(here, 60))
        assert kserve.deleted == []
    assert {len(shards) for shards in documents(here.kube, here.namespace).values()} == {1}
    assert len(servers(here)) == 3


def test_a_server_that_is_down_that_refuses_and_that_loses_answers(here: Here) -> None:
    with (
        Agents(here.kube, here.namespace),
        KServeStandIn(here.kube, here.namespace) as kserve,
        running(here.kube, here.namespace),
    ):
        eventually(lambda: servers(here))
        ours = ("trainedmodels", "trainedmodels/status", "configmaps", "inferenceservices")
        conflicts = Trouble(
            kind="answer", code=409, reason="Conflict", verbs=("patch",), resources=ours, every=2
        )
        lost = Trouble(kind="lose the answer", verbs=("patch", "create"), resources=ours, every=5)
        here.server.troubles.add(conflicts)
        here.server.troubles.add(lost)
        made = 0
        while made < 45:
            try:
                here.kube.create(TRAINED_MODELS, a_trained_model(f"m-{made:03}", namespace=here.namespace))
            except ConflictError:
                pass  # it was made, and the answer lost
            except ClusterError:
                continue
            made += 1
            if made == 25:
                with here.server.down():
                    time.sleep(3.0)
        time.sleep(1.0)
        here.server.troubles.clear()
        eventually(lambda: served(here, 45), longest_s=90)
        assert kserve.deleted == []
    assert {len(shards) for shards in documents(here.kube, here.namespace).values()} == {1}


@pytest.mark.soak
def test_a_server_that_is_down_for_a_minute(here: Here) -> None:
    with others(here) as kserve, running(here.kube, here.namespace, count=2):
        eventually(lambda: servers(here))
        apply(here, 25)
        eventually(lambda: served(here, 25))
        before = versions(here.kube, here.namespace)
        with here.server.down():
            time.sleep(60.0)
        assert versions(here.kube, here.namespace) == before
        for index in range(25, 45):
            here.kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:03}", namespace=here.namespace))
        here.kube.delete(TRAINED_MODELS, "m-000", namespace=here.namespace)
        eventually(lambda: served(here, 44))
        assert kserve.deleted == []
    assert {len(shards) for shards in documents(here.kube, here.namespace).values()} == {1}


def test_a_move_waits_for_the_new_copy_and_leaves_nothing_behind(here: Here) -> None:
    slow = threading.Event()

    def state(shard: str, model: str) -> str | None:
        return "Loaded" if shard == "news" or slow.is_set() else "Loading"

    with (
        Agents(here.kube, here.namespace, state=state),
        KServeStandIn(here.kube, here.namespace) as kserve,
        running(here.kube, here.namespace),
    ):
        eventually(lambda: servers(here))
        for name in ("a", "b"):
            here.kube.create(TRAINED_MODELS, a_trained_model(name, memory="6Gi", namespace=here.namespace))
        eventually(lambda: served(here, 2))
        more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": "9Gi"}]}
        annotations = {"annotations": {"shardpack.dev/model": json.dumps(more)}}
        here.kube.patch(TRAINED_MODELS, "b", {"metadata": annotations}, namespace=here.namespace)
        eventually(lambda: documents(here.kube, here.namespace)["b"] == {"news", "news-1"})
        time.sleep(2.0)
        assert models(here.kube, here.namespace)["b"]["spec"]["inferenceService"] == "news"
        slow.set()
        eventually(lambda: documents(here.kube, here.namespace)["b"] == {"news-1"})
        eventually(lambda: kserve.entries("news") == ["a"] and kserve.entries("news-1") == ["b"])
        eventually(lambda: served(here, 2))
        assert kserve.deleted == []


def test_a_model_that_is_deleted_standalone_is_unloaded_before_it_is_gone(here: Here) -> None:
    with (
        Agents(here.kube, here.namespace),
        running(here.kube, here.namespace, style=Style(mode="standalone")),
    ):
        apply(here, 3)
        eventually(lambda: served(here, 3))
        here.kube.delete(TRAINED_MODELS, "m-001", namespace=here.namespace)
        eventually(lambda: len(models(here.kube, here.namespace)) == 2)
        assert set(documents(here.kube, here.namespace)) == {"m-000", "m-002"}
