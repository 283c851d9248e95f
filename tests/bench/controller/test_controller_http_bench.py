"""Seconds until 10,000 TrainedModels are assigned over HTTP, and what is written for them.

The controller is a process of its own; the small API server of the tests, in this process, is slower than a
real one and takes one of the cores. Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the
records, else they are printed.
"""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from planner.cluster import connect
from planner.cluster.resources import CONFIG_MAPS, NAMESPACES, TRAINED_MODELS
from tests.bench.records import commit, keep
from tests.support.api_server.server import ApiServer
from tests.support.controllers import documents, eventually
from tests.support.memory_cluster import NAMESPACE, a_fleet_text, a_trained_model, fleet_map

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

COUNT, PER_SHARD = 10_000, 200
ROOT = Path(__file__).parents[3]


def test_ten_thousand_over_http(api_server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = api_server.kubeconfig(tmp_path, namespace=NAMESPACE)
    kube = connect(kubeconfig=kubeconfig)
    kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kube.create(CONFIG_MAPS, fleet_map(a_fleet_text(max_models=PER_SHARD)))
    rng = random.Random(0)
    for index in range(COUNT):
        kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:05}", memory=f"{rng.randint(10, 60)}Mi"))
    api_server.troubles.reset_counts()
    begin = time.perf_counter()
    command = [sys.executable, "-m", "planner.cli", "controller", "--kubeconfig", str(kubeconfig)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--metrics-port", "0", "-q"], cwd=ROOT, stdout=log, stderr=log, env={**os.environ}
        )
        eventually(lambda: len(documents(kube, NAMESPACE)) == COUNT, longest_s=900)
        in_documents = time.perf_counter() - begin
        written = api_server.troubles.writes_of
        eventually(lambda: written("trainedmodels") >= COUNT, longest_s=900)
        assigned = time.perf_counter() - begin
        eventually(lambda: written("trainedmodels/status") >= COUNT, longest_s=900)
        told = time.perf_counter() - begin
        process.terminate()
        process.wait(60)
    most: Counter[str] = Counter()
    for deed, count in api_server.troubles.writes.items():
        most[deed.resource] = max(most[deed.resource], count)
    keep(
        {
            "suite": "controller-http",
            "models": COUNT,
            "commit": commit(),
            "python": platform.python_version(),
            "in_documents_seconds": round(in_documents, 1),
            "assigned_seconds": round(assigned, 1),
            "status_seconds": round(told, 1),
            "most_writes_an_object": {
                key: most[key] for key in sorted(most) if key not in ("leases", "events")
            },
        },
        "controller-http",
    )
    kube.close()
