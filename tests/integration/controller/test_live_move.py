"""A model moves between shards, by the controller, while clients ask for it through real nginx."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
import urllib3

from planner.cluster.resources import INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from tests.support.controllers import all_loaded, documents, eventually, running
from tests.support.memory_cluster import a_trained_model
from tests.support.standing_in import Agents, GatewayPod, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None,
        reason="the gateway is nginx, which is not installed (apt-get install nginx-light)",
    ),
]

RATE_PER_S, CLIENTS = 200, 4


class Clients:
    """Ask for one model again and again, over connections that they keep; no request is sent twice."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        pool = urllib3.PoolManager(retries=False)
        due = time.monotonic()
        while not self._stop.is_set():
            due += CLIENTS / RATE_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                answer = pool.request("POST", self._url, body=b'{"inputs": []}', timeout=30)
            except urllib3.exceptions.HTTPError as error:
                self.failures.append(str(error))
                continue
            if answer.status == 200:
                self.answers[json.loads(answer.data)["id"]] += 1
            else:
                self.failures.append(f"{answer.status}: {answer.data.decode()[:200]}")


def test_a_live_move_loses_no_request(here: Here, tmp_path: Path) -> None:
    kube, namespace = here.kube, here.namespace
    style = Style(options=ManifestOptions(gateway="nginx"))
    with (
        Agents(kube, namespace) as agents,
        KServeStandIn(kube, namespace) as kserve,
        running(kube, namespace, style=style),
        GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=agents.address) as gateway,
    ):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        for name in ("a", "b"):
            kube.create(TRAINED_MODELS, a_trained_model(name, memory="6Gi"))
        eventually(lambda: all_loaded(kube, namespace, 2))
        url = f"{gateway.url}/v2/models/b/infer"
        eventually(lambda: urllib3.request("POST", url, body=b"{}", retries=False).status == 200)
        eventually(gateway.is_settled)
        with Clients(url) as clients:
            eventually(lambda: clients.answers["news"] > 100)
            more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": "9Gi"}]}
            annotations = {"annotations": {"shardpack.dev/model": json.dumps(more)}}
            kube.patch(TRAINED_MODELS, "b", {"metadata": annotations}, namespace=namespace)
            eventually(lambda: documents(kube, namespace)["b"] == {"news-1"})
            before = clients.answers["news-1"]
            eventually(lambda: clients.answers["news-1"] > before + 100)
        assert clients.failures == []
        assert clients.answers["news"] > 100
        assert kserve.deleted == []
