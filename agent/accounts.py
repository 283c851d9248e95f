"""Who a device's memory belongs to: the plan, others, or nobody who is known. PURE.

``used = foreign + fixed + steady bytes of the loaded models + unattributed``: the documents say what the plan
reckons, NVML the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.actions import held_devices
from agent.desired import FixedCost
from agent.memory import DeviceMemory
from agent.observed import Seen
from agent.pins import Target, planned_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAccount:
    """One device's memory in bytes.

    Parameters
    ----------
    memory
        As NVML tells it.
    fixed_bytes
        What the plan reckons beside models; None where the documents do not say.
    planned_bytes, loaded_bytes
        Steady bytes of the models that are planned here, and of those that the server holds here now; None
        for these where a model may be here or on another device.
    """

    memory: DeviceMemory
    fixed_bytes: int | None
    planned_bytes: int
    loaded_bytes: int | None

    @property
    def unattributed_bytes(self) -> int | None:
        """What is used beyond foreign memory and the plan's figures; below zero where these are generous."""
        memory = self.memory
        if self.fixed_bytes is None or memory.reserved_bytes is None or self.loaded_bytes is None:
            return None
        return memory.used_bytes - (memory.foreign_bytes or 0) - self.fixed_bytes - self.loaded_bytes

    @property
    def residual_bytes(self) -> int | None:
        """What the server itself holds beyond the plan's figures: a restart of it would give that back."""
        unattributed = self.unattributed_bytes
        if unattributed is None or self.memory.foreign_bytes is None:
            return None
        return max(0, unattributed)


def account(
    memory: DeviceMemory,
    *,
    targets: Mapping[str, Target],
    models: Mapping[str, Seen],
    fixed: Iterable[FixedCost],
) -> DeviceAccount:
    """Return whose a device's memory is.

    Parameters
    ----------
    memory
        The device.
    targets, models
        What is desired of each model, and what is seen of it.
    fixed
        What the plan reckons beside models.
    """
    device = f"gpu:{memory.index}"
    costs = (cost.fixed_bytes for cost in fixed if _is_of(cost, memory))
    here = {name: seen for name, seen in models.items() if seen.held and device in held_devices(seen)}
    loaded = (_steady_bytes(targets.get(name), seen) for name, seen in here.items())
    return DeviceAccount(
        memory=memory,
        fixed_bytes=next(costs, None),
        planned_bytes=planned_bytes(targets, device=device),
        loaded_bytes=None if any(_may_be_elsewhere(seen) for seen in here.values()) else sum(loaded),
    )


def _may_be_elsewhere(seen: Seen) -> bool:
    """Return whether it is open on which of several devices a model is: a move of it was not answered."""
    copy = seen.installed
    return copy is not None and copy.loaded_pin is None and len(copy.loaded_devices) > 1


def _is_of(cost: FixedCost, memory: DeviceMemory) -> bool:
    return cost.index == memory.index if cost.uuid is None else cost.uuid == memory.uuid


def _steady_bytes(target: Target | None, seen: Seen) -> int:
    """Return what a loaded model is planned to hold, and of one that is to leave what it was seen to take."""
    if target is not None:
        return target.model.steady_bytes
    return (seen.installed.measured_bytes if seen.installed else None) or 0
