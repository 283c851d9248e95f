"""``shardpack controller`` as a process that is killed again and again while models come, change and go."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from planner.cluster.resources import INFERENCE_SERVICES, TRAINED_MODELS
from planner.errors import ClusterError
from tests.support.controllers import all_loaded, documents, eventually, models, versions
from tests.support.memory_cluster import a_trained_model
from tests.support.standing_in import Agents, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

ROOT = Path(__file__).parents[3]
MODELS = 60
LEADING = "leading in namespace"


@contextmanager
def a_process(here: Here, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command as an operator runs it; killed at the end, if it still runs."""
    command = [
        *(sys.executable, "-m", "planner.cli", "controller", "--kubeconfig", str(here.kubeconfig)),
        *("--namespace", here.namespace, "--metrics-port", "0", "--lease-duration", "1.5"),
        *("--close-empty", "1"),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ})
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


@pytest.mark.timeout(300)
def test_killed_a_few_times(here: Here, tmp_path: Path) -> None:
    _killed(here, tmp_path / "log", kills=4, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_killed_at_fifty_moments(here: Here, tmp_path: Path) -> None:
    _killed(here, tmp_path / "log", kills=50, seed=2)


def _killed(here: Here, log: Path, *, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    namespace = here.namespace
    with Agents(here.kube, namespace), KServeStandIn(here.kube, namespace) as kserve:
        with a_process(here, log):
            eventually(lambda: here.kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        wanted: dict[str, dict[str, Any]] = {}
        for _ in range(kills):
            with a_process(here, log):
                for _ in range(4):
                    _change(here, wanted, rng)
                    time.sleep(rng.uniform(0.0, 1.5))
        with a_process(here, log) as process:
            eventually(lambda: all_loaded(here.kube, namespace, len(wanted)), longest_s=120)
            eventually(lambda: {len(on) for on in documents(here.kube, namespace).values()} <= {1})
            eventually(lambda: _servers(here) == {"news", *_used(here)})
            process.terminate()
            assert process.wait(30) == 0
        assert kserve.deleted == []
        assert set(models(here.kube, namespace)) == set(wanted)
        before = versions(here.kube, namespace)
        terms = log.read_text().count(LEADING)
        with a_process(here, log) as process:
            eventually(lambda: log.read_text().count(LEADING) > terms)
            time.sleep(3.0)
            process.terminate()
            assert process.wait(30) == 0
        assert versions(here.kube, namespace) == before
    assert "Traceback" not in log.read_text()


def _servers(here: Here) -> set[str]:
    items = here.kube.list(INFERENCE_SERVICES, namespace=here.namespace).items
    return {item["metadata"]["name"] for item in items}


def _used(here: Here) -> set[str]:
    return {shard for shards in documents(here.kube, here.namespace).values() for shard in shards}


def _change(here: Here, wanted: dict[str, dict[str, Any]], rng: random.Random) -> None:
    """A user creates five models, changes one, deletes one."""
    kube, namespace = here.kube, here.namespace
    for _ in range(5):
        name = f"m-{rng.randrange(MODELS):02}"
        if name not in wanted:
            memory = rng.choice(("50Mi", "500Mi", "1Gi"))
            wanted[name] = a_trained_model(name, memory=memory, namespace=namespace)
            kube.create(TRAINED_MODELS, wanted[name])
    if wanted:
        name = rng.choice(sorted(wanted))
        more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": rng.choice(("300Mi", "2Gi", "5Gi"))}]}
        annotations = {"annotations": {"shardpack.dev/model": json.dumps(more)}}
        with suppress(ClusterError):
            kube.patch(TRAINED_MODELS, name, {"metadata": annotations}, namespace=namespace)
        gone = rng.choice(sorted(wanted))
        kube.delete(TRAINED_MODELS, gone, namespace=namespace)
        del wanted[gone]
