"""Resources of containers to footprints and to shard types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from planner.scenario.catalogue import shipped_catalogue
from planner.scenario.documents import Document, Loc
from planner.scenario.foreign.collect import Collector
from planner.units import parse_bytes, parse_milli, quantity_bytes, quantity_milli

PRODUCT_LABEL = "nvidia.com/gpu.product"
_GPU, _MIG = "nvidia.com/gpu", "nvidia.com/mig-"


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping; an empty one for anything else, whose fault is found where it is read."""
    return value if isinstance(value, Mapping) else {}


def stated(resources: Any, name: str) -> Any:
    """Return what a container asks for: its request, else its limit; None without either."""
    found = mapping(resources)
    for part in ("requests", "limits"):
        value = mapping(found.get(part)).get(name)
        if value is not None:
            return value
    return None


def gpu_count(resources: Any) -> int:
    """Return the whole GPUs that a container takes; what is no number is none."""
    value = stated(resources, _GPU)
    return int(str(value)) if str(value).isdecimal() and len(str(value)) < 5 else 0


def footprint(resources: Any, collector: Collector) -> dict[str, Any]:
    """Return the footprint of a model that has a container of its own.

    Its GPUs are its own as well: the whole of their time, for as long as nobody has measured what it takes.
    """
    cpu = stated(resources, "cpu")
    return {
        "class": "*",
        **({"gpuTime": "1"} if gpu_count(resources) else {}),
        **({} if cpu is None else {"cpu": cpu}),
        **collector.memory(stated(resources, "memory")),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPod:
    """The pod of a model server, as far as its object tells.

    Parameters
    ----------
    name, runtime
        Of the shard type that it becomes.
    resources, selector
        The server container's, and the pod's node selector.
    loc
        Where the object says so.
    """

    name: str
    runtime: str
    resources: Any
    selector: Any
    loc: Loc


def add_shard_type(pod: ServerPod, document: Document, collector: Collector, **more: Any) -> None:
    """Add the shard type of a server's pod; where the pod does not tell all of it, that is told instead.

    Parameters
    ----------
    pod, document
        The pod, and the object that it is of.
    collector
        Where it goes.
    more
        Further fields of the shard type.
    """
    cpu, memory = stated(pod.resources, "cpu"), stated(pod.resources, "memory")
    if cpu is None or memory is None:
        collector.note(document, pod.loc, "states no CPU and memory: it is not taken as a shard type")
        return
    device_class = device_class_of(pod.resources, pod.selector)
    if device_class is None:
        message = f"does not say which GPU it has (nodeSelector {PRODUCT_LABEL}): not taken as a shard type"
        collector.note(document, pod.loc, message)
        return
    try:
        known = {"cpu": quantity_milli(parse_milli(cpu)), "memory": quantity_bytes(parse_bytes(memory))}
    except (TypeError, ValueError) as error:
        collector.log.add(document, pod.loc, str(error))
        return
    labels = {key: value for key, value in mapping(pod.selector).items() if isinstance(value, str)}
    data = {
        "name": pod.name,
        "runtime": pod.runtime,
        "devices": {"class": device_class, "count": max(1, gpu_count(pod.resources))},
        "resources": known,
        **({"nodeSelector": labels} if labels else {}),
        **more,
        "source": f"{document.data['kind']} {pod.name}: the server's container alone, sidecars not counted",
    }
    collector.add_shard_type(data, document, {"": pod.loc})


def device_class_of(resources: Any, selector: Any) -> str | None:
    """Return the device class of a container: the CPU without a GPU, None for one that nothing tells."""
    slices = [key.removeprefix(_MIG) for key in _names(resources) if key.startswith(_MIG)]
    if not slices and not gpu_count(resources):
        return "cpu"
    product = mapping(selector).get(PRODUCT_LABEL)
    profile = slices[0].replace(".me", "+me") if slices else None
    return _classes().get((product, profile)) if isinstance(product, str) else None


def _names(resources: Any) -> set[str]:
    return {key for part in mapping(resources).values() for key in mapping(part)}


@lru_cache(maxsize=1)
def _classes() -> dict[tuple[str | None, str | None], str]:
    """Return the shipped device classes by product and MIG profile."""
    found = shipped_catalogue().device_classes.values()
    return {(item.product, item.mig_profile): item.name for item in found if item.product is not None}
