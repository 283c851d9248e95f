"""In which order the objects of a plan are applied, and what of ours may be pruned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from planner.errors import Fault, InputError
from planner.manifests.names import LABEL_MANAGED_BY, LABEL_SCENARIO, LABEL_SHARD, MANAGED_BY

Item = dict[str, Any]

_STAGES: tuple[tuple[str, ...], ...] = (
    ("Namespace",),
    ("ServiceAccount", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget"),
    ("InferenceService", "Deployment", "Service", "HTTPRoute"),
    ("TrainedModel",),
)
"""What has to be there before what. KServe deletes a TrainedModel whose InferenceService does not exist, and
pods do not start without the ConfigMaps that they mount."""
_OTHERS = 1

PRUNED: tuple[tuple[str, str], ...] = (
    ("serving.kserve.io/v1alpha1", "TrainedModel"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
)
"""Kinds that plans are made of, in the order in which they are deleted: TrainedModels first, so that nobody
asks for models of a shard that goes, and what pods mount after the pods' owners. Never a namespace."""


def stages(items: Iterable[Item]) -> tuple[tuple[Item, ...], ...]:
    """Return objects in stages, each to be applied when all before it are there; none is empty."""
    found: list[list[Item]] = [[] for _ in _STAGES]
    for item in items:
        rank = next((rank for rank, kinds in enumerate(_STAGES) if item["kind"] in kinds), _OTHERS)
        found[rank].append(item)
    return tuple(tuple(stage) for stage in found if stage)


def prune_selector(items: Iterable[Item]) -> str:
    """Return the labels of everything that belongs to the scenario of some objects.

    Raises
    ------
    InputError
        They are of no scenario, or of several: what is left over cannot be told from what is another's.
    """
    labels = [item["metadata"].get("labels") or {} for item in items]
    scenarios = sorted({found[LABEL_SCENARIO] for found in labels if LABEL_SCENARIO in found})
    if len(scenarios) != 1:
        what = f"several scenarios ({', '.join(scenarios)})" if scenarios else "no scenario"
        message = f"the objects are of {what} by their label {LABEL_SCENARIO}: nothing can be pruned"
        raise InputError([Fault(path="", message=message)])
    return f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_SCENARIO}={scenarios[0]}"


TRAINED_MODEL = ("serving.kserve.io/v1alpha1", "TrainedModel")
_SERVERS = ("InferenceService", "Deployment")


def still_named(
    stale: Iterable[Item], wanted: Iterable[Item], live: Iterable[Item]
) -> dict[str, tuple[str, ...]]:
    """Return the shards that would be pruned though TrainedModels that stay name them, each with those.

    KServe deletes a TrainedModel whose InferenceService is gone. Whose they are does not matter: a controller
    serves TrainedModels that bear no label of a scenario, on shards that bear its fleet's.

    Parameters
    ----------
    stale
        What would be pruned.
    wanted
        What is applied: its TrainedModels name what they will name.
    live
        The TrainedModels of the namespaces as they are.
    """
    stale = tuple(stale)
    gone = {_key(item) for item in stale if item["kind"] == "TrainedModel"}
    after = {_key(item): item for item in live}
    after.update((_key(item), item) for item in wanted if item["kind"] == "TrainedModel")
    shards = {
        (_key(item)[0], item["metadata"]["labels"].get(LABEL_SHARD))
        for item in stale
        if item["kind"] in _SERVERS
    }
    found: dict[str, list[str]] = {}
    for (namespace, name), item in sorted(after.items()):
        shard = (item.get("spec") or {}).get("inferenceService")
        if (namespace, name) not in gone and (namespace, shard) in shards:
            found.setdefault(str(shard), []).append(name)
    return {shard: tuple(models) for shard, models in sorted(found.items())}


def _key(item: Item) -> tuple[str, str]:
    return item["metadata"].get("namespace") or "", item["metadata"]["name"]


def in_order_of_deletion(items: Iterable[Mapping[str, Any]]) -> tuple[tuple[Any, ...], ...]:
    """Return left over objects in stages, each to be deleted when all before it are."""
    found: dict[tuple[str, str], list[Any]] = {kind: [] for kind in PRUNED}
    for item in items:
        found[(item["apiVersion"], item["kind"])].append(item)
    return tuple(tuple(stage) for stage in found.values() if stage)


def namespaces_of(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the namespaces that objects live in, sorted."""
    return tuple(
        sorted({item["metadata"]["namespace"] for item in items if item["metadata"].get("namespace")})
    )
