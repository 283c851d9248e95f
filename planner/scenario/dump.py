"""A ``Scenario`` back to a document: exact, self-contained, and read again as the same scenario."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from planner.domain.fleet import (
    Backend,
    DeviceClass,
    LoadCost,
    Node,
    NodeDevice,
    Runtime,
    ShardType,
    Transformer,
)
from planner.domain.footprint import Amount, FootprintOption
from planner.domain.model import Model
from planner.domain.policy import Policy
from planner.domain.scenario import Scenario
from planner.scenario.scenario_shape import API_VERSION
from planner.units import format_percent, format_seconds, format_usd, quantity_bytes, quantity_milli


def scenario_text(scenario: Scenario) -> str:
    """Return a scenario's document as JSON, which is YAML too; one model a line."""
    document = scenario_document(replace(scenario, models=()))
    del document["spec"]["models"]
    models = ",\n".join([f"      {json.dumps(model_document(model))}" for model in scenario.models])
    body = json.dumps(document, indent=2)
    rows = f"[\n{models}\n    ]" if models else "[]"
    # the document ends with the closing braces of spec and of itself
    return body.removesuffix("\n  }\n}") + f',\n    "models": {rows}\n  }}\n}}\n'


def scenario_document(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as the document that ``load`` reads as the same scenario.

    It includes the parts of the catalogue that it refers to, so that it means the same under another
    catalogue. Defaults are left out.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "Scenario",
        "metadata": {"name": scenario.name, "namespace": scenario.namespace},
        "spec": {
            "catalog": {
                "deviceClasses": [_device_class(item) for item in scenario.device_classes],
                "runtimes": [_runtime(item) for item in scenario.runtimes],
                "backends": [_backend(item) for item in scenario.backends],
            },
            "cluster": _given(
                maxPodsPerNode=scenario.cluster.max_pods_per_node,
                usablePodsPerNode=scenario.cluster.usable_pods_per_node,
                nodes=scenario.cluster.nodes,
                maxIPs=scenario.cluster.max_ips,
                maxConfigMapBytes=scenario.cluster.max_config_map_bytes,
            ),
            "policy": _policy(scenario.policy),
            "shardTypes": [_shard_type(item) for item in scenario.shard_types],
            "nodes": [_node(item) for item in scenario.nodes],
            **_given(transformers=[_transformer(item) for item in scenario.transformers]),
            "models": [model_document(item) for item in scenario.models],
        },
    }


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that say something: neither None nor empty."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", {}, [])}


def _bytes(value: int | None) -> str | None:
    return None if value is None else quantity_bytes(value)


def _milli(value: int | None) -> str | None:
    return None if value is None else quantity_milli(value)


def _nonzero(value: int | None) -> int | None:
    """Return None for the default 0, which goes without saying."""
    return value or None


def _extra(named: Iterable[tuple[str, int]]) -> dict[str, str]:
    return {name: quantity_milli(value) for name, value in named}


# ------------------------------------------------------------------------------------------- catalogue


def _device_class(item: DeviceClass) -> dict[str, Any]:
    return _given(
        name=item.name,
        kind=item.kind,
        memory=_bytes(_nonzero(item.memory_bytes)),
        reserved=_bytes(_nonzero(item.reserved_bytes)),
        product=item.product,
        migProfile=item.mig_profile,
        source=item.source,
    )


def _runtime(item: Runtime) -> dict[str, Any]:
    fields = _given(
        name=item.name,
        context=_bytes(_nonzero(item.context_bytes)),
        pool=_bytes(_nonzero(item.pool_bytes)),
        hostBase=_bytes(_nonzero(item.host_base_bytes)),
        loads=_loads(item.loads),
        source=item.source,
    )
    # an empty list serves nothing; only null serves everything
    return fields if item.backends is None else {**fields, "backends": list(item.backends)}


def _loads(item: LoadCost | None) -> dict[str, Any]:
    if item is None:
        return {}
    return _given(
        each=format_seconds(item.each_ns),
        perKnown=format_seconds(item.per_known_ns),
        atStart=None if item.at_start_ns is None else format_seconds(item.at_start_ns),
    )


def _backend(item: Backend) -> dict[str, Any]:
    return {
        **_given(
            name=item.name,
            deviceBase=_bytes(_nonzero(item.device_base_bytes)),
            hostBase=_bytes(_nonzero(item.host_base_bytes)),
            source=item.source,
        ),
        "contextPerInstance": item.context_per_instance,
        "pinnable": item.pinnable,
    }


# ----------------------------------------------------------------------------------------------- fleet


def _shard_type(item: ShardType) -> dict[str, Any]:
    fields = _given(
        name=item.name,
        runtime=item.runtime,
        devices=_given(
            **{"class": item.device_class},
            count=item.device_count,
            gpuMemory=_bytes(item.device_memory_bytes),
            gpuTime=_milli(item.device_milli),
        ),
        resources=_given(
            cpu=_milli(item.cpu_milli), memory=_bytes(item.memory_bytes), disk=_bytes(item.disk_bytes)
        ),
        overhead=_given(
            cpu=_milli(_nonzero(item.overhead_cpu_milli)), memory=_bytes(_nonzero(item.overhead_memory_bytes))
        ),
        pricePerHour=format_usd(item.price_microusd_per_h),
        provision=item.provision,
        minCount=_nonzero(item.min_count),
        maxCount=item.max_count,
        replicas=item.replicas,
        group=item.group,
        zone=item.zone,
        nodeSelector=dict(item.node_selector),
        parallelLoads=item.parallel_loads,
        extra=_extra(item.extra),
    )
    # left out it would be the runtime's; only null is unlimited
    return {**fields, "maxModels": item.max_models}


def _node(item: Node) -> dict[str, Any]:
    return _given(
        name=item.name,
        zone=item.zone,
        rack=item.rack,
        allocatable=_given(cpu=_milli(item.cpu_milli), memory=_bytes(item.memory_bytes), pods=item.pods),
        podsInUse=_nonzero(item.pods_in_use),
        labels=dict(item.labels),
        devices=_devices(item.devices),
    )


def _transformer(item: Transformer) -> dict[str, Any]:
    return _given(
        name=item.name,
        image=item.image,
        args=list(item.args),
        env=dict(item.env),
        replicas=item.replicas,
        resources={"cpu": _milli(item.cpu_milli), "memory": _bytes(item.memory_bytes)},
        pricePerHour=format_usd(item.price_microusd_per_h),
    )


def _devices(devices: Iterable[NodeDevice]) -> list[dict[str, Any]]:
    """Return a node's GPUs; consecutive instances of one parent are one GPU that is cut."""
    rows: list[dict[str, Any]] = []
    parent: str | None = None
    for device in devices:
        if device.parent is None:
            rows.append(_device(device))
        elif device.parent == parent:
            rows[-1]["mig"].append(_device(device))
        else:
            by_position = device.parent == str(len(rows))
            rows.append({**({} if by_position else {"uuid": device.parent}), "mig": [_device(device)]})
        parent = device.parent
    return rows


def _device(device: NodeDevice) -> dict[str, Any]:
    return _given(
        **{"class": device.device_class},
        uuid=device.uuid,
        memory=_bytes(device.memory_bytes),
        reserved=_bytes(device.reserved_bytes),
        foreign=_bytes(_nonzero(device.foreign_bytes)),
    )


# ---------------------------------------------------------------------------------------------- models


def model_document(item: Model) -> dict[str, Any]:
    """Return a model as it stands in a scenario."""
    return _given(
        name=item.name,
        backend=item.backend,
        framework=item.framework,
        storageUri=item.storage_uri,
        replicas=item.replicas,
        priority=_nonzero(item.priority),
        tenant=item.tenant,
        together=item.together,
        devicesPerReplica=item.devices_per_replica,
        pin=None if item.pin is None else _given(shard=item.pin.shard, device=item.pin.device),
        probe=item.probe,
        transformer=item.transformer,
        labels=dict(item.labels),
        footprints=[_option(option) for option in item.footprints],
    )


def _option(item: FootprintOption) -> dict[str, Any]:
    return _given(
        **{"class": item.device_class},
        batch=item.batch,
        instances=item.instances,
        gpuMemory=_gpu_memory(item),
        gpuTime=_amount(item.device_milli, quantity_milli),
        cpu=_amount(item.cpu_milli, quantity_milli),
        memory=_amount(item.memory_bytes, quantity_bytes),
        disk=_amount(item.disk_bytes, quantity_bytes),
        source=item.source,
        extra=_extra(item.extra),
    )


def _gpu_memory(item: FootprintOption) -> Mapping[str, Any]:
    if not (item.load_peak_bytes.p95 or item.residual_bytes.p95):
        return {}
    return _given(
        steady=_amount(item.steady_bytes, quantity_bytes) or "0",
        loadPeak=_amount(item.load_peak_bytes, quantity_bytes) or "0",
        residual=_amount(item.residual_bytes, quantity_bytes),
    )


def _amount(amount: Amount, show: Any) -> Any:
    if amount.p95 == 0:
        return None
    return (
        show(amount.p95) if amount.p50 == amount.p95 else {"p50": show(amount.p50), "p95": show(amount.p95)}
    )


def _policy(policy: Policy) -> dict[str, Any]:
    headroom = policy.headroom
    return _given(
        headroom={
            "gpuMemory": format_percent(headroom.device_memory_ppm),
            "gpuTime": format_percent(headroom.device_time_ppm),
            "cpu": format_percent(headroom.cpu_ppm),
            "memory": format_percent(headroom.memory_ppm),
        },
        quantile=policy.quantile,
        spread=policy.spread,
        tenants="isolated" if policy.isolate_tenants else "shared",
        objective=list(policy.objective),
        limits=_given(
            maxCostPerHour=None
            if policy.max_usd_per_h_microusd is None
            else format_usd(policy.max_usd_per_h_microusd),
            maxShards=policy.max_shards,
        ),
    )
