"""Milliseconds of a review over HTTPS at 10,000 models: as it is quiet, and while documents change.

The webhook, a small API server with the objects, and who asks share a process: what the server of the tests
takes for its watches counts against it. Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the
records, else they are printed.
"""

from __future__ import annotations

import http.client
import json
import platform
import random
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.cluster import connect
from planner.controller.webhook import PATH, Webhook, WebhookSettings
from tests.bench.records import commit, keep
from tests.support.api_server.server import ApiServer
from tests.support.controllers import eventually
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
)
from tests.support.private_ca import make_ca

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

COUNT, PER_SHARD, REVIEWS = 10_000, 200, 3_000
GROUPS = {"TrainedModel": "serving.kserve.io", "InferenceService": "serving.kserve.io", "ConfigMap": ""}


def a_full_cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=PER_SHARD, most=COUNT // PER_SHARD + 5)))
    rng = random.Random(0)
    for index in range(COUNT):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:05}", memory=f"{rng.randint(10, 60)}Mi"))
    Run(cluster).settle()
    return cluster


def put(server: ApiServer, kind: str, item: dict[str, Any]) -> None:
    server.storage.put(
        (GROUPS[kind], f"{kind.lower()}s"),
        (NAMESPACE, item["metadata"]["name"]),
        json.loads(json.dumps(item)),
    )


@contextmanager
def a_webhook(server: ApiServer, folder: Path) -> Iterator[tuple[Webhook, ssl.SSLContext]]:
    made = make_ca(folder / "ca", "bench")
    kube = connect(kubeconfig=server.kubeconfig(folder, namespace=NAMESPACE))
    settings = WebhookSettings(
        namespace=NAMESPACE, certificate=made.certificate, key=made.key, port=0, status_port=0
    )
    running = Webhook(kube, settings)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running, ssl.create_default_context(cafile=str(made.ca))
    finally:
        running.stop()
        thread.join(60)
        kube.close()


def reviewed(port: int, context: ssl.SSLContext, rng: random.Random) -> list[float]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    taken = []
    for index in range(REVIEWS):
        memory = f"{rng.randint(10, 60)}Mi" if index % 10 else "99Gi"
        item = a_trained_model(f"new-{index}", memory=memory)
        request = {"uid": str(index), "namespace": NAMESPACE, "operation": "CREATE", "object": item}
        document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        body = json.dumps(document)
        begin = time.perf_counter()
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        taken.append(time.perf_counter() - begin)
        assert answer["response"]["allowed"] is (index % 10 != 0), answer
        time.sleep(0.001)
    connection.close()
    return taken


def figures(taken: list[float]) -> dict[str, float]:
    values = np.percentile(1000 * np.array(taken), [50, 99, 100])
    return dict(zip(("p50_ms", "p99_ms", "most_ms"), (round(float(one), 2) for one in values), strict=True))


def test_reviews_at_ten_thousand_models(api_server: ApiServer, tmp_path: Path) -> None:
    cluster = a_full_cluster()
    for kind in GROUPS:
        for item in cluster.of(kind).values():
            put(api_server, kind, item)
    begin = time.perf_counter()
    with a_webhook(api_server, tmp_path) as (running, context):
        eventually(lambda: running._what_is_missing() is None, longest_s=600)
        ready = time.perf_counter() - begin
        quiet = reviewed(running.https.port, context, random.Random(1))
        stop = threading.Event()
        writer = threading.Thread(target=churn, args=(api_server, cluster, stop))
        writer.start()
        busy = reviewed(running.https.port, context, random.Random(2))
        stop.set()
        writer.join()
    keep(
        {
            "suite": "webhook",
            "models": COUNT,
            "commit": commit(),
            "python": platform.python_version(),
            "ready_seconds": round(ready, 1),
            "quiet": figures(quiet),
            "while_ten_documents_a_second_change": figures(busy),
        },
        "webhook",
    )


def churn(server: ApiServer, cluster: MemoryCluster, stop: threading.Event) -> None:
    """Change ten placement documents a second, each by half of its models."""
    maps = [item for item in cluster.of("ConfigMap").values() if item["metadata"]["name"] != "fleet"]
    rng = random.Random(3)
    while not stop.wait(0.1):
        item = json.loads(json.dumps(rng.choice(maps)))
        for key, text in item["data"].items():
            document = json.loads(text)
            names = rng.sample(sorted(document["models"]), len(document["models"]) // 2)
            document["models"] = {name: document["models"][name] for name in names}
            item["data"][key] = json.dumps(document)
        put(server, "ConfigMap", item)
