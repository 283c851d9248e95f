"""The openb traces: nodes, pods, and the demand that the published experiments make of them.

Alibaba's trace as prepared by hkust-adsl/kubernetes-scheduler-simulator (Apache-2.0) for 'Beware of
Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent' (USENIX ATC'23). The
files are read where they are and are no part of this project.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WHOLE = 1000
"""Milli-GPUs of one GPU."""

MOST_GPUS = 8

TRACES = ("default", "cpu100", "gpuspec25", "gpushare60")

PUBLISHED = {
    "random": dict(zip(TRACES, (87.47, 89.11, 86.94, 83.65), strict=True)),
    "best-fit": dict(zip(TRACES, (93.08, 93.44, 93.23, 89.36), strict=True)),
    "fgd": dict(zip(TRACES, (95.39, 95.35, 94.74, 91.40), strict=True)),
}
"""GPUs allocated in percent, mean of 10 seeds: the artifact of the paper, ``analysis_allo_discrete.csv``."""

TYPICAL_PERCENT = 95
"""The most frequent kinds of pod that make up so much of the trace stand for the demand to come."""

DEMAND_RATIO = 1.3
"""Demand in times of all GPUs."""


class Pod(NamedTuple):
    """A kind of pod: what each asks for; ``models`` has a bit for every GPU model that it may run on."""

    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_milli: int
    models: int


class Nodes(NamedTuple):
    """Nodes in the order in which ties go to the first; all ``(nodes,)`` but ``free``.

    ``cpu_milli`` and ``memory_mib`` are what is left, ``gpus`` and ``model`` stay; ``free`` has what is
    left of each GPU, ``(nodes, 8)`` in milli, 0 for those that a node does not have.
    """

    cpu_milli: Ints
    memory_mib: Ints
    gpus: Ints
    model: Ints
    free: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One experiment.

    Parameters
    ----------
    seed
        What drew it.
    nodes
        In the order that the seed gives them.
    kinds
        ``(kinds, 5)``, the fields of ``Pod``.
    arrivals
        Which kind arrives, one after the other.
    typical, weights
        The kinds that stand for the demand to come, and their shares of it.
    """

    seed: int
    nodes: Nodes
    kinds: Ints
    arrivals: Ints
    typical: Ints
    weights: NDArray[np.float64]

    @property
    def allocated_percent(self) -> float:
        """Return the share of all GPUs that is allocated now."""
        return float(100 - 100 * self.nodes.free.sum() / (WHOLE * self.nodes.gpus.sum()))


def read_run(folder: Path, trace: str, seed: int) -> Run:
    """Return an experiment on fresh nodes; the seed draws the order of nodes and the demand."""
    rng = np.random.default_rng(seed)
    nodes, models = _read_nodes(folder / "openb_node_list_gpu_node.csv")
    pods = _read_pods(folder / f"openb_pod_list_{trace}.csv.gz", models)
    kinds, kind = np.unique(pods, axis=0, return_inverse=True)
    typical, weights = _typical(pods)
    demand = _demand(pods, WHOLE * int(nodes.gpus.sum()), rng)
    return Run(
        seed=seed,
        nodes=_shuffled(nodes, rng),
        kinds=kinds,
        arrivals=kind.ravel()[demand],
        typical=typical,
        weights=weights,
    )


def _read_nodes(path: Path) -> tuple[Nodes, tuple[str, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    models = tuple(sorted({row["model"] for row in rows}))
    gpus = np.array([int(row["gpu"]) for row in rows], dtype=np.int64)
    return (
        Nodes(
            cpu_milli=np.array([int(row["cpu_milli"]) for row in rows], dtype=np.int64),
            memory_mib=np.array([int(row["memory_mib"]) for row in rows], dtype=np.int64),
            gpus=gpus,
            model=np.array([models.index(row["model"]) for row in rows], dtype=np.int64),
            free=np.where(np.arange(MOST_GPUS) < gpus[:, None], WHOLE, 0),
        ),
        models,
    )


def _read_pods(path: Path, models: tuple[str, ...]) -> Ints:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([_pod(row, models) for row in rows], dtype=np.int64)


def _pod(row: dict[str, str], models: tuple[str, ...]) -> Pod:
    gpus = int(row["num_gpu"])
    wanted = (row.get("gpu_spec") or "|".join(models)).split("|")
    return Pod(
        cpu_milli=int(row["cpu_milli"]),
        memory_mib=int(row["memory_mib"]),
        gpus=gpus,
        gpu_milli=int(row["gpu_milli"]) if gpus else 0,
        models=sum(1 << index for index, model in enumerate(models) if model in wanted),
    )


def _demand(pods: Ints, whole: int, rng: np.random.Generator) -> Ints:
    """Return every pod once, shuffled, and then clones of random ones up to the demand's ratio."""
    order = list(rng.permutation(len(pods)))
    asked = int((pods[:, 2] * pods[:, 3]).sum())
    while True:
        clone = int(rng.integers(len(pods)))
        if asked + pods[clone, 3] > DEMAND_RATIO * whole:
            return np.array(order, dtype=np.int64)
        asked += int(pods[clone, 2] * pods[clone, 3])
        order.append(clone)


def _shuffled(nodes: Nodes, rng: np.random.Generator) -> Nodes:
    order = rng.permutation(len(nodes.gpus))
    return Nodes(
        cpu_milli=nodes.cpu_milli[order],
        memory_mib=nodes.memory_mib[order],
        gpus=nodes.gpus[order],
        model=nodes.model[order],
        free=nodes.free[order],
    )


def _typical(pods: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """Return the most frequent kinds, and their shares; the memory of a kind is the median of its pods'."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for pod in pods:
        groups.setdefault((pod[0], pod[3], pod[2], pod[4]), []).append(pod[1])
    counted = Counter({key: len(found) for key, found in groups.items()})
    kept: list[Pod] = []
    counts: list[int] = []
    for key, count in sorted(counted.items(), key=lambda item: (item[1], item[0]), reverse=True):
        if sum(counts) * 100 >= TYPICAL_PERCENT * len(pods):
            break
        cpu, milli, gpus, models = key
        kept.append(Pod(cpu, int(np.median(groups[key])), gpus, milli, models))
        counts.append(count)
    return np.array(kept, dtype=np.int64), np.array(counts) / sum(counts)
