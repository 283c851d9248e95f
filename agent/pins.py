"""Where a model is to run, in the words of Triton's ``instance_group``.

A document names devices by UUID or by ordinal; Triton wants ordinals among the devices that its process sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agent.desired import Desired, DesiredDevice, DesiredModel
from agent.errors import PinError

CPU = "cpu"
UNPINNED = "unpinned"
_GPU = "gpu:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Where a model runs.

    Parameters
    ----------
    instance_group
        The text for ``config.pbtxt``; None leaves what the model's author wrote.
    devices
        ``gpu:<ordinal>`` each, or ``cpu``, or ``unpinned``: what loads at the same time is judged by them.
    instances
        On each device.
    """

    instance_group: str | None
    devices: tuple[str, ...]
    instances: int = 1

    @property
    def ordinals(self) -> tuple[int, ...]:
        """The GPUs among its devices, as the server counts them."""
        return tuple(int(device.removeprefix(_GPU)) for device in self.devices if device.startswith(_GPU))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A desired model with its pin resolved.

    Parameters
    ----------
    model
        As in the document.
    pin
        None when it cannot be resolved.
    fault
        Why it cannot.
    """

    model: DesiredModel
    pin: Pin | None
    fault: PinError | None = None


def targets(desired: Desired, *, visible: tuple[str, ...] | None) -> dict[str, Target]:
    """Return the target of every desired model, by name.

    Parameters
    ----------
    desired
        What the documents ask for.
    visible
        UUIDs of the devices that the server sees, in its order; None when nothing could say so, then the
        documents' ordinals are taken as they are.
    """
    return {model.name: _target(model, visible) for model in desired.models}


def _target(model: DesiredModel, visible: tuple[str, ...] | None) -> Target:
    try:
        return Target(model=model, pin=pin_of(model, visible=visible))
    except PinError as error:
        return Target(model=model, pin=None, fault=error)


def pin_of(model: DesiredModel, *, visible: tuple[str, ...] | None) -> Pin:
    """Return where a model runs.

    Raises
    ------
    PinError
        A device is not among those that the server sees.
    """
    return _pin(model.devices, model.instances, visible)


@lru_cache(maxsize=1024)
def _pin(devices: tuple[DesiredDevice, ...], instances: int, visible: tuple[str, ...] | None) -> Pin:
    """Return a pin, the same one for all models that run so: a server has thousands."""
    if not devices:
        return Pin(instance_group=None, devices=(UNPINNED,))
    ordinals = sorted({_ordinal(device, visible) for device in devices if device.kind == "gpu"})
    on_cpu = any(device.kind == "cpu" for device in devices)
    return Pin(
        instance_group=instance_group(ordinals, instances=instances, on_cpu=on_cpu),
        devices=(*(f"{_GPU}{ordinal}" for ordinal in ordinals), *((CPU,) if on_cpu else ())),
        instances=instances,
    )


def instance_group(ordinals: Sequence[int], *, instances: int, on_cpu: bool) -> str:
    """Return the text for ``config.pbtxt`` that puts so many instances on each of some devices."""
    groups = []
    if ordinals:
        listed = ", ".join(map(str, ordinals))
        groups.append(f"{{ kind: KIND_GPU count: {instances} gpus: [ {listed} ] }}")
    if on_cpu:
        groups.append(f"{{ kind: KIND_CPU count: {instances} }}")
    return f"instance_group [ {', '.join(groups)} ]"


def _ordinal(device: DesiredDevice, visible: tuple[str, ...] | None) -> int:
    if visible is None:
        return device.index
    if device.uuid is not None:
        if device.uuid not in visible:
            raise PinError("DeviceNotVisible", f"the server does not see device {device.uuid}")
        return visible.index(device.uuid)
    if device.index >= len(visible):
        raise PinError(
            "DeviceNotVisible",
            f"the server sees {len(visible)} devices, the model wants number {device.index}",
        )
    return device.index


def planned_bytes(models: Mapping[str, Target], *, device: str) -> int:
    """Return the steady device bytes of the models that are pinned to a device."""
    return sum(
        target.model.steady_bytes
        for target in models.values()
        if target.pin is not None and device in target.pin.devices
    )
