"""Room for a load on its devices: refused where NVML says that it cannot fit, weighed where it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from agent.actions import Load
from agent.errors import NoRoomError
from agent.memory import DeviceMemory

_MIB = 1 << 20


@dataclass(slots=True)
class Weighing:
    """What one load takes.

    Parameters
    ----------
    peaks
        Bytes that it may take at most while it lasts, by device.
    before
        Bytes that others used when it began, by device; those where that cannot be told are left out.
    alone
        Whether nothing else was loaded on its devices meanwhile.
    """

    peaks: dict[int, int] = field(default_factory=dict)
    before: dict[int, int] = field(default_factory=dict)
    alone: bool = True


class DeviceRoom:
    """The memory of the devices, as loads ask for it.

    Parameters
    ----------
    memory
        Asks NVML; empty where nothing can say, then every load goes through and none is weighed.
    """

    def __init__(self, memory: Callable[[], Sequence[DeviceMemory]] = tuple) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._under_way: list[Weighing] = []

    @contextmanager
    def held(self, load: Load) -> Iterator[Weighing]:
        """Keep room for a load as long as it lasts.

        Loads that are under way count with all that they may take, though they may have taken it already: too
        little room is made out where there is some, which the next try finds, and not the other way round.

        Raises
        ------
        NoRoomError
            A device has less free than the load may take.
        """
        wanted = {int(device[4:]) for device in load.pin.devices if device.startswith("gpu:")}
        with self._lock:
            devices = {device.index: device for device in self._memory() if device.index in wanted}
            for device in devices.values():
                self._check(device, load)
            weighing = Weighing(
                peaks={index: _wanted_bytes(load, index) for index in devices},
                before=_used_by_others(load, devices.values()),
            )
            for other in self._under_way:
                if other.peaks.keys() & devices.keys():
                    weighing.alone = other.alone = False
            self._under_way.append(weighing)
        try:
            yield weighing
        finally:
            with self._lock:
                # By identity: two loads may be equal.
                self._under_way = [other for other in self._under_way if other is not weighing]

    def taken(self, weighing: Weighing) -> int | None:
        """Return what a loaded model holds of the device of which it holds most.

        None where that cannot be told: there is no device, others were loaded meanwhile, or it was there
        before and nobody had seen what it took.
        """
        if not weighing.alone or not weighing.before:
            return None
        used = {device.index: device.used_bytes for device in self._memory()}
        grown = [used[index] - before for index, before in weighing.before.items() if index in used]
        most = max(grown, default=0)
        return most if most > 0 else None

    def _check(self, device: DeviceMemory, load: Load) -> None:
        free = device.total_bytes - (device.reserved_bytes or 0) - device.used_bytes
        promised = sum(other.peaks.get(device.index, 0) for other in self._under_way)
        wanted = _wanted_bytes(load, device.index)
        if wanted > free - promised:
            others = f", {promised / _MIB:.0f} MiB of them promised to other loads" if promised else ""
            raise NoRoomError(
                f"device {device.index} has {free / _MIB:.0f} MiB free{others}; "
                f"the load may take {wanted / _MIB:.0f} MiB"
            )


def _wanted_bytes(load: Load, index: int) -> int:
    """Return what a load may take of a device beyond what the model holds there already.

    Nothing where it may have been carried out: the room that it needs it has taken itself, and only the
    server can say so.
    """
    if f"gpu:{index}" not in load.kept:
        return load.peak_bytes
    if load.repeated and load.kept_bytes is None:
        return 0
    return max(0, load.peak_bytes - (load.kept_bytes or 0))


def _used_by_others(load: Load, devices: Iterable[DeviceMemory]) -> dict[int, int]:
    """Return what is used of each device, less what the model itself holds there."""
    found: dict[int, int] = {}
    if load.update:
        return found  # the older copy goes when this one is there, and nobody tells when it has gone
    for device in devices:
        if f"gpu:{device.index}" not in load.kept:
            found[device.index] = device.used_bytes
        elif load.kept_bytes is not None:
            found[device.index] = device.used_bytes - load.kept_bytes
    return found
