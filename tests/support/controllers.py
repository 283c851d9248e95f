"""Running controllers, and what tests look at in their cluster."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from planner.cluster import Kube, LeaseTimes
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    POD_DISRUPTION_BUDGETS,
    SERVICES,
    TRAINED_MODELS,
)
from planner.controller.asking import Rounds
from planner.controller.loop import Controller, Settings
from planner.controller.objects import Style
from planner.controller.pace import Pace
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY

TIMES = LeaseTimes(duration_s=3.0, renew_within_s=2.0, retry_s=0.3)
PACE = Pace(switch_s=0.3, longest_s=5.0)
ROUNDS = Rounds(busy_s=0.2, idle_s=1.0)


@contextmanager
def running(
    kube: Kube, namespace: str, *, style: Style | None = None, pace: Pace = PACE, count: int = 1
) -> Iterator[list[Controller]]:
    """Controllers in threads."""
    controllers = [
        Controller(
            kube,
            Settings(
                namespace=namespace,
                identity=f"c-{number}-{time.monotonic_ns()}",
                style=style or Style(),
                pace=pace,
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
        yield list(controllers)
    finally:
        for item in controllers:
            item.stop()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def eventually(check: Callable[[], object], *, longest_s: float = 90.0) -> None:
    """Wait until something is true; a busy machine is no fault."""
    end = time.monotonic() + longest_s
    while not check():
        assert time.monotonic() < end, f"after {longest_s:g} s it is still not so"
        time.sleep(0.1)


def models(kube: Kube, namespace: str) -> dict[str, dict[str, Any]]:
    """The TrainedModels by name."""
    return {item["metadata"]["name"]: item for item in kube.list(TRAINED_MODELS, namespace=namespace).items}


def is_loaded(item: dict[str, Any]) -> bool:
    """Whether a TrainedModel's status says that all of it is loaded."""
    conditions = item.get("status", {}).get("conditions", [])
    found = {one["type"]: one["status"] for one in conditions}
    return found.get("Assigned") == "True" and found.get("Loaded") == "True"


def documents(kube: Kube, namespace: str) -> dict[str, set[str]]:
    """The shards that placement documents say each model is on."""
    found: dict[str, set[str]] = {}
    for item in kube.list(CONFIG_MAPS, namespace=namespace, labels="shardpack.dev/shard").items:
        for key, text in item["data"].items():
            if key.startswith("placement-"):
                document = json.loads(text)
                for name in document["models"]:
                    found.setdefault(name, set()).add(document["shard"])
    return found


def versions(kube: Kube, namespace: str) -> dict[tuple[str, str], str]:
    """The version of TrainedModels and of all that is ours: it is another one after every write."""
    kinds = (INFERENCE_SERVICES, CONFIG_MAPS, DEPLOYMENTS, SERVICES, POD_DISRUPTION_BUDGETS)
    ours = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
    found = [(TRAINED_MODELS, kube.list(TRAINED_MODELS, namespace=namespace).items)]
    found += [(kind, kube.list(kind, namespace=namespace, labels=ours).items) for kind in kinds]
    return {
        (resource.kind, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for resource, items in found
        for item in items
    }


def all_loaded(kube: Kube, namespace: str, count: int) -> bool:
    """Whether so many models are loaded where their TrainedModels say."""
    found, placed = models(kube, namespace), documents(kube, namespace)
    return len(found) == count and all(
        is_loaded(item) and item["spec"]["inferenceService"] in placed.get(name, ())
        for name, item in found.items()
    )
