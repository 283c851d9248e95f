"""Fleets whose loads have drifted since they were placed: about a fifth of the shards are over their room.

Some 27 models stand on each of equal shards that were filled to 88 % in the mean of each of four resources
(device memory, device time, CPU, host memory). Then every load drifted by a lognormal factor, and one model
in twenty surged to up to thrice of itself in one of the resources; totals are as before. No shard is to be
added.
"""

from __future__ import annotations

import numpy as np

from planner.domain.footprint import Amount, FootprintOption
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.scenario import Scenario
from tests.support.builders import GIB, GPU, a_gpu_class, a_scenario, a_shard_type

ROOM = {"gpu": 16 * GIB, "milli": 1000, "cpu": 64_000, "host": 256 * GIB}
"""What a shard offers: device bytes, device time, CPU and host memory."""
FULL = 0.88
_SKEW = (0.7, 0.8, 0.6, 0.7)
"""Sigma of the lognormal sizes in each resource."""
_DRIFT = 0.25
_SURGES = 0.05
_CHOICES = 8
"""Shards among which each model was given to the emptiest."""


def drifted(models: int, shards: int, *, seed: int) -> tuple[Scenario, Placement]:
    """A scenario as it is now, and the placement that was legal before the drift."""
    rng = np.random.default_rng([seed, models])
    before = rng.lognormal(0.0, _SKEW, size=(models, len(_SKEW)))
    before *= FULL * shards / before.sum(axis=0)
    home = _placed_evenly(before, shards, rng)
    factor = rng.lognormal(0.0, _DRIFT, size=before.shape)
    surge = rng.random(models) < _SURGES
    factor[surge, rng.integers(0, len(_SKEW), surge.sum())] *= rng.uniform(1.5, 3.0, surge.sum())
    now = before * factor
    now *= before.sum(axis=0) / now.sum(axis=0)
    return _scenario(now, shards, seed), _placement(home, shards)


def _placed_evenly(shares: np.ndarray, shards: int, rng: np.random.Generator) -> np.ndarray:
    """Return a shard for each model, the largest first, legal in every resource."""
    load = np.zeros((shards, shares.shape[1]))
    home = np.zeros(len(shares), dtype=np.int64)
    for index in np.argsort(-shares.max(axis=1), kind="stable"):
        some = rng.integers(0, shards, _CHOICES)
        then = (load[some] + shares[index]).max(axis=1)
        if then.min() > 1:
            some, then = np.arange(shards), (load + shares[index]).max(axis=1)
        home[index] = some[np.argmin(then)]
        load[home[index]] += shares[index]
    return home


def _scenario(shares: np.ndarray, shards: int, seed: int) -> Scenario:
    only = a_shard_type(
        "t",
        max_count=shards,
        cpu_milli=ROOM["cpu"],
        memory_bytes=ROOM["host"],
        group="t",
    )
    return a_scenario(
        *(_model(index, row) for index, row in enumerate(shares)),
        types=(only,),
        classes=(a_gpu_class(GPU, memory=ROOM["gpu"]),),
        name=f"drifted-{len(shares)}-{seed}",
        objective=("placed", "moves", "cost"),
    )


def _model(index: int, row: np.ndarray) -> Model:
    gpu, milli, cpu, host = (
        max(1, int(share * room)) for share, room in zip(row, ROOM.values(), strict=True)
    )
    footprint = FootprintOption(
        device_class=GPU,
        steady_bytes=_certain(gpu),
        load_peak_bytes=_certain(gpu),
        device_milli=_certain(milli),
        cpu_milli=_certain(cpu),
        memory_bytes=_certain(host),
    )
    name = f"model-{index:06}"
    return Model(name=name, backend="onnxruntime", storage_uri=f"s3://models/{name}", footprints=(footprint,))


def _certain(value: int) -> Amount:
    return Amount(p50=value, p95=value)


def _placement(home: np.ndarray, shards: int) -> Placement:
    names = ["t" if index == 0 else f"t-{index}" for index in range(shards)]
    return Placement(
        shards=tuple(
            sorted((Shard(name=name, shard_type="t") for name in names), key=lambda item: item.name)
        ),
        placed=tuple(
            Placed(model=f"model-{index:06}", replica=0, shard=names[at], devices=(0,))
            for index, at in enumerate(home.tolist())
        ),
    )
