"""``shardpack controller`` as a process that is killed again and again while models come, change and go.

Beside it, in a namespace of its own, runs one that nobody kills, with the same models at the same moments:
what is written beyond what that one writes is what kills cost.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from planner.cluster.resources import CONFIG_MAPS, INFERENCE_SERVICES, NAMESPACES, TRAINED_MODELS
from planner.errors import ClusterError
from tests.support.api_server import access
from tests.support.controllers import all_loaded, documents, eventually, models, versions
from tests.support.memory_cluster import a_fleet_text, a_trained_model, fleet_map
from tests.support.standing_in import Agents, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

ROOT = Path(__file__).parents[3]
MODELS = 60
LEADING = "leading in namespace"
CONTROLLER = access.User(name="controller", groups=(access.MASTERS,))
CALM = "never-killed"
A_KILL = 4
"""Writes that a kill may cost to an object that was changed before it: those of a move that begins again."""

Written = Counter[tuple[str, str]]
"""How often controllers wrote an object, by resource (``trainedmodels/status``, say) and name."""


@contextmanager
def a_process(here: Here, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command as an operator runs it, once it leads; killed at the end, if it still runs."""
    command = [
        *(sys.executable, "-m", "planner.cli", "controller", "--kubeconfig", str(here.kubeconfig)),
        *("--namespace", here.namespace, "--metrics-port", "0", "--lease-duration", "1.5"),
        *("--close-empty", "1"),
    ]
    log.touch()
    terms = log.read_text().count(LEADING)
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ})
        try:
            eventually(lambda: log.read_text().count(LEADING) > terms)
            yield process
        finally:
            process.kill()
            process.wait(30)


@dataclass(kw_only=True)
class User:
    """Somebody who creates, changes and deletes the same models in several namespaces.

    Parameters
    ----------
    places
        Where.
    rng
        Says which.

    Attributes
    ----------
    wanted
        The models that are there.
    struck
        In how many rounds that ended with a kill each model was changed.
    """

    places: tuple[Here, ...]
    rng: random.Random
    wanted: set[str] = field(default_factory=set)
    struck: Counter[str] = field(default_factory=Counter)
    _changed: set[str] = field(default_factory=set)

    def change(self) -> None:
        """Create five models, change one, delete one."""
        rng = self.rng
        for _ in range(5):
            name, memory = f"m-{rng.randrange(MODELS):02}", rng.choice(("50Mi", "500Mi", "1Gi"))
            if name not in self.wanted:
                self.wanted.add(name)
                self._changed.add(name)
                for at in self.places:
                    item = a_trained_model(name, memory=memory, namespace=at.namespace)
                    at.kube.create(TRAINED_MODELS, item)
        name, gone = rng.choice(sorted(self.wanted)), rng.choice(sorted(self.wanted))
        more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": rng.choice(("300Mi", "2Gi", "5Gi"))}]}
        annotations = {"annotations": {"shardpack.dev/model": json.dumps(more)}}
        for at in self.places:
            with suppress(ClusterError):
                at.kube.patch(TRAINED_MODELS, name, {"metadata": annotations}, namespace=at.namespace)
            at.kube.delete(TRAINED_MODELS, gone, namespace=at.namespace)
        self.wanted.discard(gone)
        self._changed |= {name, gone}

    def kill(self) -> None:
        """Count the models that were changed since the last kill."""
        self.struck.update(self._changed)
        self._changed.clear()


@pytest.mark.timeout(300)
def test_killed_a_few_times(here: Here, tmp_path: Path) -> None:
    _killed(here, tmp_path, kills=3, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_killed_at_fifty_moments(here: Here, tmp_path: Path) -> None:
    _killed(here, tmp_path, kills=50, seed=2)


def _killed(here: Here, folder: Path, *, kills: int, seed: int) -> None:
    here, *calm = _places(here, folder)
    log, rng = folder / "killed.log", random.Random(seed)
    user = User(places=(here, *calm), rng=rng)
    with ExitStack() as stack:
        deleted = [kserve.deleted for at in user.places for kserve in _others(stack, at)]
        for at in calm:
            stack.enter_context(a_process(at, folder / "calm.log"))
        for _ in range(kills):
            with a_process(here, log):
                eventually(lambda: all(map(_servers, user.places)))
                for _ in range(4):
                    user.change()
                    time.sleep(rng.uniform(0.0, 1.0))
            user.kill()
        with a_process(here, log) as process:
            for at in user.places:
                _converges(at, user.wanted)
            process.terminate()
            assert process.wait(30) == 0
        assert deleted == [[] for _ in user.places]
        for at in calm:
            _is_no_storm(_written(here), _written(at), user, kills=kills)
        before = versions(here.kube, here.namespace)
        with a_process(here, log) as process:
            time.sleep(3.0)
            process.terminate()
            assert process.wait(30) == 0
        assert versions(here.kube, here.namespace) == before
    assert "Traceback" not in log.read_text()


def _places(here: Here, folder: Path) -> tuple[Here, ...]:
    """Return the namespace, and a second one like it where writes can be counted."""
    if here.own is None:
        return (here,)
    metadata = {"name": CALM}
    here.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    here.kube.create(CONFIG_MAPS, fleet_map(a_fleet_text(namespace=CALM), namespace=CALM))
    kubeconfig = here.own.kubeconfig(folder, user=CONTROLLER)
    return replace(here, kubeconfig=kubeconfig), replace(here, kubeconfig=kubeconfig, namespace=CALM)


def _others(stack: ExitStack, at: Here) -> Iterator[KServeStandIn]:
    stack.enter_context(Agents(at.kube, at.namespace))
    yield stack.enter_context(KServeStandIn(at.kube, at.namespace))


def _converges(at: Here, wanted: set[str]) -> None:
    eventually(lambda: all_loaded(at.kube, at.namespace, len(wanted)), longest_s=120)
    eventually(lambda: {len(on) for on in documents(at.kube, at.namespace).values()} <= {1})
    eventually(lambda: _servers(at) == {"news", *_used(at)})
    assert set(models(at.kube, at.namespace)) == wanted


def _servers(at: Here) -> set[str]:
    items = at.kube.list(INFERENCE_SERVICES, namespace=at.namespace).items
    return {item["metadata"]["name"] for item in items}


def _used(at: Here) -> set[str]:
    return {shard for shards in documents(at.kube, at.namespace).values() for shard in shards}


def _written(at: Here) -> Written:
    """Return what controllers wrote in a namespace; the lease, which is renewed by the clock, left out."""
    found: Written = Counter()
    for deed, count in at.server.troubles.writes.items():
        if (deed.user, deed.namespace) == (CONTROLLER.name, at.namespace) and deed.resource != "leases":
            found[deed.resource, deed.name] += count
    return found


def _is_no_storm(killed: Written, calm: Written, user: User, *, kills: int) -> None:
    """Hold what was written to what is without kills, and a little for each kill that hit an object."""
    for (resource, name), count in killed.items():
        hits = user.struck[name] if resource.startswith("trainedmodels") else kills
        is_new = resource == "events"  # each is an object of its own
        assert is_new or count <= calm[resource, name] + A_KILL * hits, f"{resource} {name}"
    assert killed.total() <= calm.total() + user.struck.total()
