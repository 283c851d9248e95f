"""The controller as it runs: HTTP, watches, an election, others who write too."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import urllib3

from planner.cluster import Kube, LeaseTimes, connect
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    NAMESPACES,
    TRAINED_MODELS,
)
from planner.controller.asking import Rounds
from planner.controller.loop import Controller, Settings
from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.errors import ConflictError
from tests.support.api_server.server import ApiServer
from tests.support.api_server.troubles import Trouble
from tests.support.memory_cluster import NAMESPACE, a_fleet_text, a_trained_model, fleet_map
from tests.support.standing_in import Agents, KServeStandIn

pytestmark = pytest.mark.timeout(180)

TIMES = LeaseTimes(duration_s=3.0, renew_within_s=2.0, retry_s=0.3)
PACE = Pace(switch_s=0.3, longest_s=5.0)
ROUNDS = Rounds(busy_s=0.2, idle_s=1.0)
MODES: tuple[Mode, ...] = ("kserve", "standalone")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server
        assert server.mistakes == []


@pytest.fixture
def kube(api: ApiServer, tmp_path: Any) -> Iterator[Kube]:
    client = connect(kubeconfig=api.kubeconfig(tmp_path, namespace=NAMESPACE))
    client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    client.create(CONFIG_MAPS, fleet_map(a_fleet_text()))
    yield client
    client.close()


@contextmanager
def running(kube: Kube, *, mode: Mode = "kserve", count: int = 1) -> Iterator[list[Controller]]:
    """Controllers in threads."""
    controllers = [
        Controller(
            kube,
            Settings(
                namespace=NAMESPACE,
                identity=f"c-{number}-{time.monotonic_ns()}",
                style=Style(mode=mode),
                pace=PACE,
                rounds=ROUNDS,
                times=TIMES,
                port=0,
            ),
        )
        for number in range(count)
    ]
    threads = [threading.Thread(target=item.run) for item in controllers]
    for thread in threads:
        thread.start()
    try:
        yield controllers
    finally:
        for item in controllers:
            item.stop()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def eventually(check: Callable[[], object], *, longest_s: float = 60.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + longest_s
    while not check():
        assert time.monotonic() < end, f"after {longest_s:g} s it is still not so"
        time.sleep(0.1)


def apply(kube: Kube, count: int, **more: Any) -> None:
    for index in range(count):
        kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:03}", **more))


def models(kube: Kube) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in kube.list(TRAINED_MODELS, namespace=NAMESPACE).items}


def is_loaded(item: dict[str, Any]) -> bool:
    conditions = item.get("status", {}).get("conditions", [])
    found = {one["type"]: one["status"] for one in conditions}
    return found.get("Assigned") == "True" and found.get("Loaded") == "True"


def documents(kube: Kube) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in kube.list(CONFIG_MAPS, namespace=NAMESPACE, labels="shardpack.dev/shard").items:
        for key, text in item["data"].items():
            if key.startswith("placement-"):
                document = json.loads(text)
                for name in document["models"]:
                    found.setdefault(name, set()).add(document["shard"])
    return found


def all_loaded(kube: Kube, count: int) -> bool:
    found = models(kube)
    placed = documents(kube)
    return len(found) == count and all(
        is_loaded(item) and item["spec"]["inferenceService"] in placed.get(name, ())
        for name, item in found.items()
    )


@pytest.mark.parametrize("mode", MODES)
def test_fifty_models_from_nothing(kube: Kube, api: ApiServer, mode: Mode) -> None:
    with ExitStack() as stack:
        stack.enter_context(Agents(kube, NAMESPACE))
        kserve = KServeStandIn(kube, NAMESPACE)
        if mode == "kserve":
            stack.enter_context(kserve)
        (controller,) = stack.enter_context(running(kube, mode=mode))
        resource = INFERENCE_SERVICES if mode == "kserve" else DEPLOYMENTS
        eventually(lambda: kube.list(resource, namespace=NAMESPACE).items)
        apply(kube, 50)
        eventually(lambda: all_loaded(kube, 50))
        port = controller.endpoints.port
        for path in ("livez", "readyz"):
            assert urllib3.request("GET", f"http://127.0.0.1:{port}/{path}").status == 200
        text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
        assert "shardpack_controller_models 50.0" in text
        assert kserve.deleted == []
        eventually(lambda: len(kube.list(EVENTS, namespace=NAMESPACE).items) >= 53)
    shards = [item["metadata"]["name"] for item in kube.list(resource, namespace=NAMESPACE).items]
    assert len(shards) == 3
    for name, item in models(kube).items():
        assert api.troubles.writes_of("trainedmodels/status", name=name) <= 2
        url = f"http://news-gateway.{NAMESPACE}.svc/v2/models/{name}/infer"
        assert item["metadata"]["annotations"]["shardpack.dev/url"] == url
        if mode == "standalone":
            assert item["status"]["url"] == item["status"]["address"]["url"] == url


def test_a_restart_writes_nothing(kube: Kube, api: ApiServer) -> None:
    with Agents(kube, NAMESPACE), KServeStandIn(kube, NAMESPACE):
        with running(kube):
            eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=NAMESPACE).items)
            apply(kube, 30)
            eventually(lambda: all_loaded(kube, 30))
        api.troubles.reset_counts()
        with running(kube) as (controller,):
            eventually(lambda: controller.metrics.models._value.get() == 30)
            time.sleep(1.0)
    written = {deed.resource for deed in api.troubles.writes} - {"leases", "events"}
    assert written == set()


def test_three_controllers_and_the_leader_goes_in_the_middle(kube: Kube) -> None:
    with Agents(kube, NAMESPACE), KServeStandIn(kube, NAMESPACE) as kserve, running(kube, count=3) as three:
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=NAMESPACE).items)
        for index in range(60):
            kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:03}"))
            if index in (20, 40):
                leader = next(item for item in three if item.metrics.leading._value.get())
                leader.stop()
                three.remove(leader)
                eventually(lambda: any(item.metrics.leading._value.get() for item in three))
        eventually(lambda: all_loaded(kube, 60))
        assert kserve.deleted == []
    assert {len(shards) for shards in documents(kube).values()} == {1}
    assert len(kube.list(INFERENCE_SERVICES, namespace=NAMESPACE).items) == 3


def test_a_server_that_is_down_that_refuses_and_that_loses_answers(kube: Kube, api: ApiServer) -> None:
    with Agents(kube, NAMESPACE), KServeStandIn(kube, NAMESPACE) as kserve, running(kube):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=NAMESPACE).items)
        ours = ("trainedmodels", "trainedmodels/status", "configmaps", "inferenceservices")
        conflicts = Trouble(
            kind="answer", code=409, reason="Conflict", verbs=("patch",), resources=ours, every=2
        )
        lost = Trouble(kind="lose the answer", verbs=("patch", "create"), resources=ours, every=5)
        api.troubles.add(conflicts)
        api.troubles.add(lost)
        made = 0
        while made < 45:
            try:
                kube.create(TRAINED_MODELS, a_trained_model(f"m-{made:03}"))
            except ConflictError:
                pass  # it was made, and the answer lost
            except Exception:  # noqa: BLE001 - asked again
                continue
            made += 1
            if made == 25:
                with api.down():
                    time.sleep(3.0)
        time.sleep(1.0)
        api.troubles.clear()
        eventually(lambda: all_loaded(kube, 45), longest_s=90)
        assert kserve.deleted == []
    assert {len(shards) for shards in documents(kube).values()} == {1}


def test_a_move_waits_for_the_new_copy_and_leaves_nothing_behind(kube: Kube) -> None:
    slow = threading.Event()

    def state(shard: str, model: str) -> str | None:
        return "Loaded" if shard == "news" or slow.is_set() else "Loading"

    with Agents(kube, NAMESPACE, state=state), KServeStandIn(kube, NAMESPACE) as kserve, running(kube):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=NAMESPACE).items)
        for name in ("a", "b"):
            kube.create(TRAINED_MODELS, a_trained_model(name, memory="6Gi"))
        eventually(lambda: all_loaded(kube, 2))
        more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": "9Gi"}]}
        annotations = {"annotations": {"shardpack.dev/model": json.dumps(more)}}
        kube.patch(TRAINED_MODELS, "b", {"metadata": annotations}, namespace=NAMESPACE)
        eventually(lambda: documents(kube)["b"] == {"news", "news-1"})
        time.sleep(2.0)
        assert models(kube)["b"]["spec"]["inferenceService"] == "news"
        slow.set()
        eventually(lambda: documents(kube)["b"] == {"news-1"})
        eventually(lambda: kserve.entries("news") == ["a"] and kserve.entries("news-1") == ["b"])
        eventually(lambda: all_loaded(kube, 2))
        assert kserve.deleted == []


def test_a_model_that_is_deleted_standalone_is_unloaded_before_it_is_gone(kube: Kube) -> None:
    with Agents(kube, NAMESPACE), running(kube, mode="standalone"):
        apply(kube, 3)
        eventually(lambda: all_loaded(kube, 3))
        kube.delete(TRAINED_MODELS, "m-001", namespace=NAMESPACE)
        eventually(lambda: len(models(kube)) == 2)
        assert set(documents(kube)) == {"m-000", "m-002"}
