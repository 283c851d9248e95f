"""What pods request, as the scheduler adds it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.units import parse_bytes, parse_milli

_DEVICES = ("nvidia.com/gpu", "nvidia.com/mig-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """CPU, memory and devices, and how many pods that is."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    pods: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            cpu_milli=self.cpu_milli + other.cpu_milli,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            devices=Counter(self.devices) + Counter(other.devices),
            pods=self.pods + other.pods,
        )

    def __or__(self, other: Amounts) -> Amounts:
        """Return the larger of each."""
        return Amounts(
            cpu_milli=max(self.cpu_milli, other.cpu_milli),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            devices=Counter(self.devices) | Counter(other.devices),
            pods=max(self.pods, other.pods),
        )


def amounts(resources: Mapping[str, str], *, pods: int = 0) -> Amounts:
    """Return a list of resources, as requests or as what a node has; other resources are left out."""
    return Amounts(
        cpu_milli=parse_milli(resources.get("cpu", 0)),
        memory_bytes=parse_bytes(resources.get("memory", 0)),
        devices={name: int(text) for name, text in resources.items() if _is_device(name) and int(text)},
        pods=pods,
    )


def _is_device(resource: str) -> bool:
    return resource.startswith(_DEVICES)


def requested(pod: dict[str, Any]) -> Amounts:
    """Return what a pod requests.

    The containers together, or a step of its start if that needs more; init containers that go on running
    count with all that follows them. What is requested for the pod as a whole wins; its overhead is added.
    (Kubernetes, "Resource Management for Pods and Containers" and "Sidecar Containers".)
    """
    spec = pod["spec"]
    running, most = Amounts(), Amounts()
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running += _of(container)
            most |= running
        else:
            most |= running + _of(container)
    for container in spec["containers"]:
        running += _of(container)
    found = running | most
    whole = (spec.get("resources") or {}).get("requests") or {}
    overhead = amounts(spec.get("overhead") or {})
    return overhead + Amounts(
        cpu_milli=amounts(whole).cpu_milli if "cpu" in whole else found.cpu_milli,
        memory_bytes=amounts(whole).memory_bytes if "memory" in whole else found.memory_bytes,
        devices=found.devices,
        pods=1,
    )


def _of(container: dict[str, Any]) -> Amounts:
    """Return what a container requests; devices stand under limits alone, too."""
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})
