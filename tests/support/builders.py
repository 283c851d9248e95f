"""Small builders of domain values that say only what a test is about; the rest is plain and harmless."""

from __future__ import annotations

from typing import Any

from planner.domain.fleet import Backend, Cluster, DeviceClass, Node, NodeDevice, Runtime, ShardType
from planner.domain.footprint import Amount, FootprintOption
from planner.domain.model import Model, Pin
from planner.domain.policy import Headroom, Policy
from planner.domain.scenario import Scenario

GIB = 2**30
MIB = 2**20

GPU = "gpu-16"
CPU = "cpu"


def an_amount(value: int | Amount) -> Amount:
    """An amount that is certain."""
    return value if isinstance(value, Amount) else Amount(p50=value, p95=value)


def an_option(
    device_class: str = "*",
    *,
    gpu: int | Amount = 0,
    peak: int | Amount | None = None,
    milli: int | Amount = 0,
    cpu: int | Amount = 0,
    host: int | Amount = 0,
    disk: int | Amount = 0,
    **more: Any,
) -> FootprintOption:
    """A footprint in bytes and milli-units; the load peak is the steady state unless it is given."""
    return FootprintOption(
        device_class=device_class,
        steady_bytes=an_amount(gpu),
        load_peak_bytes=an_amount(gpu if peak is None else peak),
        device_milli=an_amount(milli),
        cpu_milli=an_amount(cpu),
        memory_bytes=an_amount(host),
        disk_bytes=an_amount(disk),
        **more,
    )


def a_model(
    name: str = "m",
    *footprints: FootprintOption,
    backend: str = "onnxruntime",
    pin: str | Pin | None = None,
    **more: Any,
) -> Model:
    """A model of one backend; without footprints it needs 1 GiB of GPU memory anywhere."""
    return Model(
        name=name,
        backend=backend,
        storage_uri=more.pop("storage_uri", f"s3://models/{name}"),
        pin=Pin(shard=pin) if isinstance(pin, str) else pin,
        footprints=footprints or (an_option(gpu=GIB),),
        **more,
    )


def models(count: int, *footprints: FootprintOption, prefix: str = "m", **more: Any) -> tuple[Model, ...]:
    """Several equal models, ``m-000``, ``m-001``..."""
    return tuple(a_model(f"{prefix}-{index:03}", *footprints, **more) for index in range(count))


def a_shard_type(name: str = "t", *, price: int = 1_000_000, **more: Any) -> ShardType:
    """A shard type to buy with one 16 GiB GPU and more CPU and memory than anyone asks for."""
    plain: dict[str, Any] = {
        "runtime": "triton",
        "device_class": GPU,
        "cpu_milli": 64_000,
        "memory_bytes": 512 * GIB,
        "group": name,
    }
    return ShardType(name=name, price_microusd_per_h=price, **{**plain, **more})


def a_node(name: str = "n", *, gpus: int = 1, device_class: str = GPU, **more: Any) -> Node:
    """A large node with some equal GPUs."""
    plain: dict[str, Any] = {
        "cpu_milli": 256_000,
        "memory_bytes": 2048 * GIB,
        "devices": (NodeDevice(device_class=device_class),) * gpus,
    }
    return Node(name=name, **{**plain, **more})


def a_gpu_class(name: str = GPU, *, memory: int = 16 * GIB, **more: Any) -> DeviceClass:
    """A GPU whose driver keeps nothing for itself."""
    return DeviceClass(name=name, kind="gpu", memory_bytes=memory, **more)


def a_scenario(
    *models: Model,
    types: tuple[ShardType, ...] | None = None,
    nodes: tuple[Node, ...] = (),
    classes: tuple[DeviceClass, ...] = (),
    runtimes: tuple[Runtime, ...] = (),
    backends: tuple[Backend, ...] = (),
    cluster: Cluster | None = None,
    headroom: Headroom | None = None,
    name: str = "test",
    **policy: Any,
) -> Scenario:
    """A scenario with all that its parts refer to; what is not given costs nothing."""
    shard_types = (a_shard_type(),) if types is None else types
    return Scenario(
        name=name,
        namespace="models",
        cluster=cluster or Cluster(),
        device_classes=_complete(classes, _class_names(shard_types, nodes), _plain_class),
        runtimes=_complete(
            runtimes, {item.runtime for item in shard_types}, lambda wanted: Runtime(name=wanted)
        ),
        backends=_complete(backends, {item.backend for item in models}, lambda wanted: Backend(name=wanted)),
        shard_types=shard_types,
        nodes=nodes,
        models=tuple(sorted(models, key=lambda item: item.name)),
        policy=Policy(headroom=headroom or Headroom(), **policy),
    )


def _class_names(shard_types: tuple[ShardType, ...], nodes: tuple[Node, ...]) -> set[str]:
    on_nodes = {device.device_class for node in nodes for device in node.devices}
    return {item.device_class for item in shard_types} | on_nodes


def _plain_class(name: str) -> DeviceClass:
    return DeviceClass(name=name, kind="cpu", memory_bytes=0) if name == CPU else a_gpu_class(name)


def _complete(given: tuple[Any, ...], wanted: set[str], make: Any) -> tuple[Any, ...]:
    known = {item.name for item in given}
    return tuple(sorted((*given, *(make(name) for name in wanted - known)), key=lambda item: str(item.name)))
