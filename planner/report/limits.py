"""The three limits of KServe's multi-model guide as tables: one model a service against shards."""

from __future__ import annotations

from collections.abc import Iterator

from planner.report.text import table
from planner.report.words import amount, plural
from planner.sizing.limits import Assumptions, Ceiling, Serving, ServingLimits
from planner.units import format_bytes


def limits_text(limits: ServingLimits, *, wide: bool = False) -> str:
    """Return the limits with the assumptions that they were reckoned with; ``wide`` shows every sum."""
    parts = [
        serving_table(limits, wide=wide),
        *transformer_lines(limits.sharded),
        *_ceiling_block(limits, wide=wide),
        *assumption_lines(limits.assumptions),
    ]
    if limits.sharded is None:
        parts.append("The shards' side needs a plan.")
    return "\n".join(parts)


def serving_rows(limits: ServingLimits) -> list[tuple[str, str, str]]:
    """Return (what, one model a service, shards) as text; ``-`` for shards without a plan."""
    alone, shards = limits.one_per_service, limits.sharded
    return [
        (what, _figure(alone, field, unit), "-" if shards is None else _figure(shards, field, unit))
        for what, field, unit in (
            ("models", "models", "count"),
            ("InferenceServices", "services", "count"),
            ("pods = IP addresses", "pods", "count"),
            ("GPUs", "gpus", "count"),
            ("sidecar CPU", "overhead_cpu_milli", "milli"),
            ("sidecar CPU a model", "overhead_cpu_milli_per_model", "milli"),
            ("sidecar memory", "overhead_memory_bytes", "bytes"),
            ("sidecar memory a model", "overhead_memory_bytes_per_model", "bytes"),
        )
    ]


def _figure(serving: Serving, field: str, unit: str) -> str:
    value = getattr(serving, field)
    if value is None:
        return "-"
    if unit == "count":
        return f"{value:,}"
    return format_bytes(value) if unit == "bytes" else amount(value, unit)


def serving_table(limits: ServingLimits, *, wide: bool = False) -> str:
    """Return what both ways of serving the scenario's models take; ``wide`` says how that was reckoned."""
    rows = serving_rows(limits)
    if not wide:
        return table(("", "one model a service", "shards"), rows, right=(1, 2))
    alone = _alone_sums(limits)
    shards = ["-"] * len(rows) if limits.sharded is None else _shard_sums(limits.sharded)
    headers = ("", "one model a service", "reckoned as", "shards", "reckoned as")
    wider = [
        (what, one, first, other, second)
        for (what, one, other), first, second in zip(rows, alone, shards, strict=True)
    ]
    return table(headers, wider, right=(1, 3))


def _alone_sums(limits: ServingLimits) -> list[str]:
    """Return how each of ``serving_rows`` was reckoned for one model a service."""
    serving, given = limits.one_per_service, limits.assumptions
    transformers = f" + {given.models:,} x {plural(given.transformer_replicas, 'transformer')}"
    return [
        "all of the scenario",
        "one a model",
        plural(given.replicas, "replica") + (transformers if given.transformer_replicas else ""),
        "whole ones, for each replica that needs any",
        *_sidecar_sums(serving, serving.pods),
    ]


def _shard_sums(serving: Serving) -> list[str]:
    """Return how each of ``serving_rows`` was reckoned for shards; what transformers take is their own."""
    beside = f" + {plural(serving.transformer_pods, 'transformer pod')}" if serving.transformer_pods else ""
    return [
        "those that the plan places",
        "one a shard",
        f"{plural(serving.services, 'shard')}, pods as their types say{beside}",
        "all of the pods",
        *_sidecar_sums(serving, serving.pods - serving.transformer_pods),
    ]


def _sidecar_sums(serving: Serving, pods: int) -> Iterator[str]:
    """Yield how sidecars were reckoned: CPU, CPU a model, memory, memory a model."""
    for total, unit in ((serving.overhead_cpu_milli, "milli"), (serving.overhead_memory_bytes, "bytes")):
        each = total // pods if pods else 0
        yield f"{plural(pods, 'pod')}, {amount(each, unit)} each on average"
        yield f"{amount(total, unit)} / {plural(serving.models, 'model')}, rounded up"


def transformer_lines(sharded: Serving | None) -> Iterator[str]:
    """Yield how many of the shards' pods are transformers', if any are."""
    if sharded is not None and sharded.transformer_pods:
        yield f"{sharded.transformer_pods:,} of the pods beside shards are transformers', each counted once."


def ceiling_rows(limits: ServingLimits) -> list[tuple[str, str, str, str]]:
    """Return (limit, reckoned with, most models at one a service, most models on shards) as text."""
    return [
        (
            "pods" if item.limit == "pods" else "IP addresses",
            _basis(item),
            f"{item.one_per_service_models:,}",
            "-" if item.sharded_models is None else f"{item.sharded_models:,}",
        )
        for item in limits.ceilings
    ]


def _basis(ceiling: Ceiling) -> str:
    if ceiling.limit == "ips":
        return f"{ceiling.available:,} addresses"
    each = "" if ceiling.pods_per_node is None else f" of {ceiling.pods_per_node} pods"
    nodes = "" if ceiling.nodes is None else f"{plural(ceiling.nodes, 'node')}{each}: "
    return f"{nodes}{ceiling.available:,} pods"


def _ceiling_block(limits: ServingLimits, *, wide: bool) -> Iterator[str]:
    if not limits.ceilings:
        return
    yield ""
    yield "Most models that the cluster has room for:"
    headers = ("  limit", "reckoned with", "one model a service", "shards")
    rows = [(f"  {first}", *rest) for first, *rest in ceiling_rows(limits)]
    if not wide:
        yield table(headers, rows, right=(2, 3))
        return
    sums = [
        (_most_models(item, limits.one_per_service), _most_models(item, limits.sharded, is_shared=True))
        for item in limits.ceilings
    ]
    wider = [
        (limit, basis, one, first, other, second)
        for (limit, basis, one, other), (first, second) in zip(rows, sums, strict=True)
    ]
    yield table((*headers[:3], "reckoned as", headers[3], "reckoned as"), wider, right=(2, 4))


def _most_models(ceiling: Ceiling, serving: Serving | None, *, is_shared: bool = False) -> str:
    """Return how the most models under a limit were reckoned; transformers that are shared stand once."""
    once = serving.transformer_pods if serving is not None and is_shared else 0
    if serving is None or serving.pods == once:
        return "-"
    models, pods = plural(serving.models, "model"), plural(serving.pods - once, "pod")
    available = f"({ceiling.available:,} - {once:,})" if once else f"{ceiling.available:,}"
    return f"{available} x {models} / {pods}, rounded down"


def assumption_lines(assumptions: Assumptions) -> Iterator[str]:
    """Yield what the figures were reckoned with, and which limits nobody set."""
    yield ""
    transformers = assumptions.transformer_replicas
    beside = f" and {plural(transformers, 'transformer pod')}" if transformers else ", no transformer pods"
    models, replicas = plural(assumptions.models, "model"), plural(assumptions.replicas, "replica")
    yield (
        f"Reckoned with {models}, {replicas}: one predictor pod a replica{beside} a service; overheads are "
        "the shard types'."
    )
    if assumptions.nodes is None:
        yield "The pods are not limited: neither cluster.nodes nor nodes are given."
    else:
        whose = "cluster.nodes" if assumptions.nodes_from == "cluster" else "the scenario's nodes"
        usable = assumptions.usable_pods_per_node
        kept = "" if usable is None else f", of which {usable} are usable"
        yield (
            f"{plural(assumptions.nodes, 'node')} ({whose}), at most {assumptions.max_pods_per_node} pods a "
            f"node{kept}."
        )
    if assumptions.max_ips is None:
        yield "The addresses are not limited: cluster.maxIPs is not given."
